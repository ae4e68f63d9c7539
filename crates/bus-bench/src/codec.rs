//! The codec from file to file: JSON beside the `zstd` program, random bytes beside a copy that
//! makes the same digests.

use std::{
    convert::Infallible,
    fs::File,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
};

use anyhow::{Context as _, ensure};
use bus_codec::{
    DEFAULT_CHUNK_SIZE, Manifest,
    stream::{DecodeOptions, EncodeOptions, Encoder, decode},
};
use bus_model::{CompressionType, Digest, Hasher};
use bytes::Bytes;
use futures::{TryStreamExt as _, stream};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    runtime::Runtime,
};

use crate::measure::{self, Contestant};

/// What to measure.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Size of each input in MiB
    #[arg(long, default_value_t = 128)]
    mib: usize,
    /// Rounds; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Chunks in flight
    #[arg(long, default_value_t = bus_codec::stream::default_parallelism())]
    parallelism: usize,
    /// Original size of a chunk in bytes
    #[arg(long, default_value_t = DEFAULT_CHUNK_SIZE)]
    chunk_size: u32,
    /// Folder for the files; a temporary one by default
    #[arg(long)]
    folder: Option<PathBuf>,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let folder = match &args.folder {
        Some(folder) => tempfile::tempdir_in(folder)?,
        None => tempfile::tempdir()?,
    };
    let runtime = Runtime::new()?;
    let bench = Bench {
        args,
        runtime: &runtime,
        folder: folder.path(),
    };
    let len = args.mib * 1024 * 1024;
    bench.json(&bus_testkit::json_payload(len, 7))?;
    bench.random(&bus_testkit::random_payload(len, 7))
}

struct Bench<'a> {
    args: &'a Args,
    runtime: &'a Runtime,
    folder: &'a Path,
}

impl Bench<'_> {
    /// Ours at zstd 1 beside the program, in both directions.
    fn json(&self, payload: &[u8]) -> anyhow::Result<()> {
        let (source, ours, theirs, back) = (
            self.file("json"),
            self.file("ours"),
            self.file("json.zst"),
            self.file("back"),
        );
        std::fs::write(&source, payload)?;
        let len = payload.len() as u64;
        let mut encode = [
            Contestant::new("bus, zstd 1", len),
            Contestant::new("zstd -T2 -1", len),
            Contestant::new("bus, zstd 1, from memory to memory", len),
        ];
        let mut decode = [
            Contestant::new("bus", len),
            Contestant::new("zstd -d", len),
            Contestant::new("bus, from memory to memory", len),
        ];
        let held = Bytes::copy_from_slice(payload);
        let mut ratio = 0.0;
        for _ in 0..self.args.rounds {
            let mut manifest = None;
            encode[0].run(|| {
                manifest = Some(self.encode_file(CompressionType::Zstd, &source, &ours)?);
                Ok(())
            })?;
            encode[1].run(|| zstd(&["-T2", "-1"], &source, &theirs))?;
            encode[2].run(|| self.encode_memory(&held))?;
            let manifest = Arc::new(manifest.context("no manifest")?);
            ratio = manifest.encoded_size() as f64 / len as f64;
            decode[0].run(|| self.decode_file(&manifest, &ours, &back))?;
            decode[1].run(|| zstd(&["-d"], &theirs, &back))?;
            let body = Bytes::from(std::fs::read(&ours)?);
            decode[2].run(|| self.decode_memory(&manifest, body))?;
        }
        measure::print(
            &format!("JSON, {} MiB, to {ratio:.3} of its size", self.args.mib),
            &encode,
        )?;
        measure::print("and back", &decode)?;
        Ok(())
    }

    /// Ours beside a copy with the same digests, where nothing compresses.
    fn random(&self, payload: &[u8]) -> anyhow::Result<()> {
        let (source, target) = (self.file("random"), self.file("random.out"));
        std::fs::write(&source, payload)?;
        let len = payload.len() as u64;
        let mut contestants = [
            Contestant::new("copy, payload and chunk digests, one thread", len),
            Contestant::new("copy, and the stored body's digest", len),
            Contestant::new("bus, zstd", len),
            Contestant::new("bus, gzip", len),
            Contestant::new("bus, none", len),
        ];
        for _ in 0..self.args.rounds {
            contestants[0].run(|| self.copy(&source, &target, false))?;
            contestants[1].run(|| self.copy(&source, &target, true))?;
            for (contestant, encoding) in contestants[2..].iter_mut().zip([
                CompressionType::Zstd,
                CompressionType::Gzip,
                CompressionType::None,
            ]) {
                contestant.run(|| self.encode_file(encoding, &source, &target).map(drop))?;
            }
        }
        measure::print(
            &format!("Random bytes, {} MiB", self.args.mib),
            &contestants,
        )?;
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn options(&self, encoding: CompressionType) -> EncodeOptions {
        EncodeOptions {
            encoding,
            chunk_size: self.args.chunk_size,
            parallelism: self.args.parallelism,
            ..EncodeOptions::default()
        }
    }

    fn encode_file(
        &self,
        encoding: CompressionType,
        source: &Path,
        target: &Path,
    ) -> anyhow::Result<Manifest> {
        self.runtime.block_on(async {
            let source = tokio::fs::File::open(source).await?;
            let mut target = tokio::fs::File::create(target).await?;
            let mut encoder = Encoder::from_reader(source, self.options(encoding));
            while let Some(chunk) = encoder.next().await {
                target.write_all(&chunk?.bytes).await?;
            }
            target.flush().await?;
            Ok(encoder.finish()?)
        })
    }

    fn encode_memory(&self, payload: &Bytes) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let options = self.options(CompressionType::Zstd);
            let mut encoder = Encoder::from_bytes(payload.clone(), options);
            let mut stored = 0;
            while let Some(chunk) = encoder.next().await {
                stored += chunk?.bytes.len() as u64;
            }
            ensure!(encoder.finish()?.encoded_size() == stored, "sizes differ");
            Ok(())
        })
    }

    fn decode_file(
        &self,
        manifest: &Arc<Manifest>,
        source: &Path,
        target: &Path,
    ) -> anyhow::Result<()> {
        self.runtime.block_on(async {
            let mut target = tokio::fs::File::create(target).await?;
            let source = tokio::fs::File::open(source).await?;
            let lens: Vec<u64> = manifest.chunks().iter().map(|c| c.stored_len).collect();
            let stored = stream::try_unfold(
                (source, lens.into_iter()),
                |(mut source, mut lens)| async move {
                    let Some(len) = lens.next() else {
                        return Ok(None);
                    };
                    let chunk = read_chunk(&mut source, len).await?;
                    Ok::<_, std::io::Error>(Some((chunk, (source, lens))))
                },
            );
            let options = self.decode_options();
            let mut plain = decode(Arc::clone(manifest), 0..u64::MAX, options, stored);
            while let Some(bytes) = plain.try_next().await? {
                target.write_all(&bytes).await?;
            }
            target.flush().await?;
            Ok(())
        })
    }

    fn decode_memory(&self, manifest: &Arc<Manifest>, mut body: Bytes) -> anyhow::Result<()> {
        let lens = manifest.chunks().iter().map(|c| c.stored_len);
        let chunks: Vec<_> = lens
            .map(|len| Ok::<_, Infallible>(body.split_to(usize::try_from(len).unwrap_or(0))))
            .collect();
        self.runtime.block_on(async {
            let options = self.decode_options();
            let stored = stream::iter(chunks);
            let mut plain = decode(Arc::clone(manifest), 0..u64::MAX, options, stored);
            let mut len = 0;
            while let Some(bytes) = plain.try_next().await? {
                len += bytes.len() as u64;
            }
            ensure!(len == manifest.payload_size(), "sizes differ");
            Ok(())
        })
    }

    fn decode_options(&self) -> DecodeOptions {
        DecodeOptions {
            parallelism: self.args.parallelism,
            check_whole: true,
        }
    }

    /// What anybody would write who wants a copy and the digests.
    fn copy(&self, source: &Path, target: &Path, body_too: bool) -> anyhow::Result<()> {
        let (mut source, mut target) = (File::open(source)?, File::create(target)?);
        let (mut payload, mut body) = (Hasher::new(), Hasher::new());
        let mut digests = Vec::new();
        let mut buffer = Vec::new();
        loop {
            buffer.clear();
            let len = u64::from(self.args.chunk_size);
            if (&mut source).take(len).read_to_end(&mut buffer)? == 0 {
                break;
            }
            payload.update(&buffer);
            digests.push(Digest::of(&buffer));
            if body_too {
                body.update(&buffer);
            }
            target.write_all(&buffer)?;
        }
        std::hint::black_box((payload.finish(), body.finish(), digests));
        Ok(())
    }
}

/// The next `len` bytes of `source`.
async fn read_chunk(source: &mut tokio::fs::File, len: u64) -> std::io::Result<Bytes> {
    let mut chunk = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    source.take(len).read_to_end(&mut chunk).await?;
    Ok(chunk.into())
}

fn zstd(args: &[&str], source: &Path, target: &Path) -> anyhow::Result<()> {
    let status = Command::new("zstd")
        .args(["-q", "-f"])
        .args(args)
        .arg(source)
        .arg("-o")
        .arg(target)
        .status()
        .context("the program zstd is missing: apt-get install zstd")?;
    ensure!(status.success(), "zstd ended with {status}");
    Ok(())
}
