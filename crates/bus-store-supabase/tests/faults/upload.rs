//! A connection that breaks at each stage of an upload.

use std::time::Duration;

use bus_model::MessageBusRecord;
use bus_store::{Begin, NewMessage, PutOutcome, Store, StoreError, StoreErrorKind as Kind, Upload};
use bus_testkit::Fault;
use rstest::rstest;

use crate::kit::{Body, HASTY, PATIENT, Rig, begin_new, config, message, send, store};

/// The call that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Begin,
    Chunk,
    RawChunk,
    Renew,
    Commit,
    Abort,
    Put,
}

/// When and how its connection breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    Connecting,
    HeadReset,
    HeadCut,
    BodyReset,
    BodyCut,
    ReplyReset,
    ReplyCut,
    ReplyLost,
}

impl Break {
    /// Whether the server did what it was asked, though nobody was told.
    fn after_the_deed(self) -> bool {
        matches!(self, Self::ReplyReset | Self::ReplyCut | Self::ReplyLost)
    }

    /// The fault, for a request of `bytes` bytes.
    fn fault(self, bytes: u64) -> Fault {
        let (some, most) = (Some(20), Some(bytes - 20));
        match self {
            Self::Connecting => Fault::Refuse,
            Self::HeadReset => Fault::ResetAfter {
                up: some,
                down: None,
            },
            Self::HeadCut => Fault::CutAfter {
                up: some,
                down: None,
            },
            Self::BodyReset => Fault::ResetAfter {
                up: most,
                down: None,
            },
            Self::BodyCut => Fault::CutAfter {
                up: most,
                down: None,
            },
            Self::ReplyReset => Fault::ResetAfter {
                up: None,
                down: Some(1),
            },
            Self::ReplyCut => Fault::CutAfter {
                up: None,
                down: Some(1),
            },
            Self::ReplyLost => Fault::HalfOpen,
        }
    }

    fn kind(self) -> Kind {
        match self {
            Self::ReplyLost => Kind::Timeout,
            _ => Kind::Unavailable,
        }
    }
}

/// An upload of `body`, broken at one call.
struct Scene {
    rig: Rig,
    step: Step,
    body: Body,
}

/// What the call answered, as far as it is looked at.
#[derive(Debug, PartialEq)]
enum Answered {
    Nothing,
    Begun(Upload),
    Written(Box<MessageBusRecord>),
}

impl Scene {
    async fn new(step: Step, at: Break) -> Self {
        let call = if at == Break::ReplyLost {
            HASTY
        } else {
            PATIENT
        };
        let mut rig = Rig::shared_with(call).await;
        if step == Step::RawChunk {
            rig.project.gateway().octet_stream(true);
            let url = rig.proxy.url();
            rig.store = store(config(&url, rig.project.secret_key(), call).with_raw_chunks_from(0));
        }
        let body = Body::of(if step == Step::Put { 1 } else { 3 }, 1);
        Self { rig, step, body }
    }

    /// All that comes before the broken call.
    async fn prepare(&self, new: &NewMessage) -> Option<Upload> {
        let store = self.rig.store.as_ref();
        if matches!(self.step, Step::Begin | Step::Put) {
            return None;
        }
        let upload = begin_new(store, new).await;
        let before = match self.step {
            Step::Commit => 3,
            _ => 1,
        };
        send(store, &upload.token, &self.body, 0..before).await;
        Some(upload)
    }

    async fn call(
        &self,
        new: &NewMessage,
        upload: Option<&Upload>,
    ) -> Result<Answered, StoreError> {
        let store = self.rig.store.as_ref();
        let token = upload.map(|upload| &upload.token);
        match (self.step, token) {
            (Step::Begin, _) => store.begin(new).await.map(begun),
            (Step::Put, _) => {
                let put = store.put(new, &self.body.manifest, &self.body.chunks).await;
                put.map(written)
            }
            (Step::Chunk | Step::RawChunk, Some(token)) => {
                let chunk = self.body.chunks[1].clone();
                store
                    .put_chunk(token, 1, chunk)
                    .await
                    .map(|()| Answered::Nothing)
            }
            (Step::Renew, Some(token)) => store.renew(token).await.map(|()| Answered::Nothing),
            (Step::Commit, Some(token)) => {
                let record = store.commit(token, &self.body.manifest).await;
                record.map(|record| Answered::Written(Box::new(record)))
            }
            (Step::Abort, Some(token)) => store
                .abort(token, "a test")
                .await
                .map(|()| Answered::Nothing),
            (step, None) => panic!("{step:?} needs an upload"),
        }
    }

    /// How many bytes the request has, by making it for another message.
    async fn rehearse(&self) -> u64 {
        let new = message("rehearsal1");
        let upload = self.prepare(&new).await;
        let before = self.rig.proxy.counts().up;
        self.call(&new, upload.as_ref()).await.unwrap();
        self.rig.proxy.counts().up - before
    }

    /// The rest of the upload; the message is whole then.
    async fn finish(&self, new: &NewMessage, upload: Option<Upload>) {
        let store = self.rig.store.as_ref();
        if let Some(upload) = upload {
            send(store, &upload.token, &self.body, 0..3).await;
            store
                .commit(&upload.token, &self.body.manifest)
                .await
                .unwrap();
        }
        self.rig.whole(&new.key, &self.body).await;
        self.rig.works("afterwards").await;
    }
}

fn begun(begin: Begin) -> Answered {
    match begin {
        Begin::New(upload) => Answered::Begun(upload),
        other => panic!("a new upload was expected, not {other:?}"),
    }
}

fn written(put: PutOutcome) -> Answered {
    match put {
        PutOutcome::Created(record) => Answered::Written(record),
        other => panic!("it was expected to be written by this call, not {other:?}"),
    }
}

/// Everywhere: whole or absent, and the same call again succeeds as if nothing had been.
#[rstest]
#[tokio::test]
async fn a_broken_upload_goes_on_with_the_same_call(
    #[values(Step::Begin, Step::Chunk, Step::Commit, Step::Put)] step: Step,
    #[values(
        Break::Connecting,
        Break::HeadReset,
        Break::HeadCut,
        Break::BodyReset,
        Break::BodyCut,
        Break::ReplyReset,
        Break::ReplyCut,
        Break::ReplyLost
    )]
    at: Break,
) {
    broken_and_repeated(step, at).await;
}

/// The same where a chunk goes up as raw bytes, and for a lease that is renewed.
#[rstest]
#[tokio::test]
async fn a_broken_raw_chunk_or_renewal_goes_on_with_the_same_call(
    #[values(Step::RawChunk, Step::Renew)] step: Step,
    #[values(Break::BodyReset, Break::BodyCut, Break::ReplyReset, Break::ReplyLost)] at: Break,
) {
    broken_and_repeated(step, at).await;
}

async fn broken_and_repeated(step: Step, at: Break) {
    let scene = Scene::new(step, at).await;
    let rig = &scene.rig;
    let bytes = scene.rehearse().await;
    let new = message("broken-001");
    let mut upload = scene.prepare(&new).await;

    rig.proxy.set(at.fault(bytes));
    let broken = scene.call(&new, upload.as_ref()).await;
    rig.transient(broken, at.kind());
    rig.proxy.clear();
    let writes = matches!(step, Step::Commit | Step::Put);
    if writes && at.after_the_deed() {
        rig.whole(&new.key, &scene.body).await;
    } else {
        rig.absent(&new.key, &scene.body).await;
    }

    match scene.call(&new, upload.as_ref()).await.unwrap() {
        Answered::Begun(begun) => upload = Some(begun),
        Answered::Written(record) => assert_eq!(record.key(), new.key),
        Answered::Nothing => {}
    }
    let upload = upload.filter(|_| !writes);
    scene.finish(&new, upload).await;
}

/// An abort that is asked for twice was done once; either way the key is free and nothing is kept.
#[rstest]
#[tokio::test]
async fn a_broken_abort_frees_the_key(
    #[values(Break::Connecting, Break::BodyCut, Break::ReplyReset, Break::ReplyLost)] at: Break,
) {
    let scene = Scene::new(Step::Abort, at).await;
    let rig = &scene.rig;
    let bytes = scene.rehearse().await;
    let new = message("broken-001");
    let upload = scene.prepare(&new).await;

    rig.proxy.set(at.fault(bytes));
    rig.transient(scene.call(&new, upload.as_ref()).await, at.kind());
    rig.proxy.clear();
    rig.absent(&new.key, &scene.body).await;
    match scene.call(&new, upload.as_ref()).await {
        Ok(_) => assert!(!at.after_the_deed()),
        again => {
            assert!(at.after_the_deed(), "{again:?}");
            rig.failed(again, Kind::LeaseLost);
        }
    }
    assert_eq!(
        rig.number("select count(*) from public.message_bus_chunks")
            .await,
        0
    );
    let upload = begin_new(rig.store.as_ref(), &new).await;
    scene.finish(&new, Some(upload)).await;
}

/// A server that is not there at all.
#[tokio::test]
async fn a_port_that_nobody_listens_on_is_told_as_such() {
    let rig = Rig::shared().await;
    let port = bus_testkit::free_port().unwrap();
    let url = format!("http://127.0.0.1:{port}");
    let away = store(config(
        &url,
        rig.project.secret_key(),
        Duration::from_secs(5),
    ));
    let error = rig.transient(away.check().await, Kind::Unavailable);
    assert!(error.to_string().contains("check SUPABASE_URL"), "{error}");
}
