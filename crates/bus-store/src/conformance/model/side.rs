//! One of the two stores that are compared, and what its users hold.

use std::{sync::Arc, time::Duration};

use bus_model::{MessageId, MessageKey, Principal};
use bytes::Bytes;

use super::{
    answer::{Answer, seen},
    ops::{BodyNo, Key, Known, Listing, Op, Writer, new_message, query},
};
use crate::{
    Begin, ListQuery, PurgeOptions, PurgeReport, PutOutcome, Store, StoreError, UploadToken,
    conformance::support::{Body, principal, read_chunks},
};

/// A writer: its token, and what it began with.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) token: UploadToken,
    pub(super) key: MessageKey,
    body: Body,
    began: (Key, BodyNo, Known),
}

#[derive(Debug)]
pub(super) struct Side {
    pub(super) store: Arc<dyn Store>,
    /// Every writer that ever began.
    pub(super) writers: Vec<Slot>,
    /// Every message that was ever there.
    messages: Vec<(Principal, MessageId)>,
    /// The listing that `NextPage` goes on with.
    page: Option<(ListQuery, u32)>,
}

impl Side {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self {
            store,
            writers: Vec::new(),
            messages: Vec::new(),
            page: None,
        }
    }

    /// The place of a writer that is counted back from the last.
    pub(super) fn writer(&self, back: Writer) -> Option<usize> {
        self.writers.len().checked_sub(back + 1)
    }

    /// Does `op`, all but moving the clock.
    pub(super) async fn apply(&mut self, op: &Op) -> Answer {
        let store = Arc::clone(&self.store);
        match op {
            Op::Begin(key, body, known) => self.begin(*key, *body, *known).await,
            Op::TakeOver(w) => match self.writer(*w).map(|place| &self.writers[place]) {
                Some(slot) => {
                    let (key, body, known) = slot.began;
                    self.begin(key, body, known).await
                }
                None => Answer::Skipped,
            },
            Op::Put(key, body, known) => self.put(*key, &body.get(), *known).await,
            Op::PutChunk(w, ..)
            | Op::Upload(w)
            | Op::Renew(w)
            | Op::Commit(w, _)
            | Op::Abort(w) => match self.writer(*w) {
                Some(place) => write(&*store, &self.writers[place], op).await,
                None => Answer::Skipped,
            },
            Op::Record(key) => Answer::of(store.record(&key.get()).await),
            Op::Read(key) => read(&*store, &key.get()).await.unwrap_or_else(refused),
            Op::Chunks(back, stranger, start, end) => {
                self.chunks(*back, *stranger, (*start).into()..(*end).into())
                    .await
            }
            Op::List(listing) => self.list(listing).await,
            Op::FirstPage(listing) => {
                self.page = Some((query(listing), listing.limit));
                self.next_page().await
            }
            Op::NextPage => self.next_page().await,
            Op::Touch(a, b) => Answer::of(store.touch(&[a.get(), b.get()]).await),
            Op::Acknowledge(key) => match store.acknowledge(&key.get()).await {
                Ok(_) => Answer::Acknowledged,
                Err(error) => refused(error),
            },
            Op::Delete(key) => Answer::of(store.delete(&key.get()).await),
            Op::Purge(limit, after) => {
                let options = PurgeOptions {
                    limit: *limit,
                    acknowledged_after: after.map(|s| Duration::from_secs(s.into())),
                };
                purge(&*store, &options)
                    .await
                    .map_or_else(refused, Answer::Purged)
            }
            Op::Stats => store.stats().await.map_or_else(refused, Answer::Stats),
            Op::Advance(_) => Answer::Done,
        }
    }

    async fn begin(&mut self, key: Key, body_no: BodyNo, known: Known) -> Answer {
        let body = body_no.get();
        let began = (key, body_no, known);
        let begun = match self.store.begin(&new_message(key, &body, known)).await {
            Ok(begun) => begun,
            Err(error) => return refused(error),
        };
        if let Begin::New(upload) | Begin::Resume(upload, _) = &begun {
            let (token, key) = (upload.token.clone(), key.get());
            self.messages.push((key.principal.clone(), token.id));
            self.writers.push(Slot {
                token,
                key,
                body,
                began,
            });
        }
        Answer::from(&begun)
    }

    async fn put(&mut self, key: Key, body: &Body, known: Known) -> Answer {
        let message = new_message(key, body, known);
        let outcome = match self.store.put(&message, &body.manifest, &body.chunks).await {
            Ok(outcome) => outcome,
            Err(error) => return refused(error),
        };
        if let PutOutcome::Created(record) = &outcome {
            self.messages.push((record.principal.clone(), record.id));
        }
        Answer::from(&outcome)
    }

    async fn chunks(&self, back: usize, stranger: bool, range: std::ops::Range<u32>) -> Answer {
        let place = self.messages.len().checked_sub(back + 1);
        let Some((owner, id)) = place.and_then(|place| self.messages.get(place)) else {
            return Answer::Skipped;
        };
        let nobody = principal("nobody");
        let reader = if stranger { &nobody } else { owner };
        read_chunks(&*self.store, reader, *id, range)
            .await
            .map_or_else(refused, Answer::Chunks)
    }

    /// All pages, in one answer: how they are cut is the store's own.
    async fn list(&self, listing: &Listing) -> Answer {
        let mut query = query(listing);
        query.limit = listing.limit;
        let mut records = Vec::new();
        loop {
            let page = match self.store.list(&query).await {
                Ok(page) => page,
                Err(error) => return refused(error),
            };
            records.extend(page.records.into_iter().map(seen));
            match page.next {
                Some(cursor) if query.after.is_some_and(|after| cursor >= after) => {
                    return Answer::LeadsBack;
                }
                Some(cursor) => query.after = Some(cursor),
                None => return Answer::Page(records, false),
            }
        }
    }

    /// The next page of exactly the wanted size, however many the store makes of it.
    async fn next_page(&mut self) -> Answer {
        let Some((mut query, wanted)) = self.page.take() else {
            return Answer::Skipped;
        };
        let mut records = Vec::new();
        query.limit = wanted;
        while query.limit > 0 {
            let page = match self.store.list(&query).await {
                Ok(page) => page,
                Err(error) => return refused(error),
            };
            let got = u32::try_from(page.records.len()).unwrap_or(u32::MAX);
            query.limit = query.limit.saturating_sub(got);
            records.extend(page.records.into_iter().map(seen));
            match page.next {
                Some(cursor) => query.after = Some(cursor),
                None => return Answer::Page(records, false),
            }
        }
        self.page = Some((query, wanted));
        Answer::Page(records, true)
    }
}

fn refused(error: StoreError) -> Answer {
    Answer::Refused(error.kind())
}

/// Does `op` with the writer's token.
async fn write(store: &dyn Store, slot: &Slot, op: &Op) -> Answer {
    let Slot { token, body, .. } = slot;
    match op {
        Op::PutChunk(_, seq, other) => {
            let other = other.map(BodyNo::get);
            let chunks = &other.as_ref().unwrap_or(body).chunks;
            let chunk = chunks[usize::from(*seq) % chunks.len()].clone();
            Answer::of(store.put_chunk(token, (*seq).into(), chunk).await)
        }
        Op::Upload(_) => {
            for (seq, chunk) in (0..).zip(&body.chunks) {
                if let Err(error) = store.put_chunk(token, seq, chunk.clone()).await {
                    return refused(error);
                }
            }
            Answer::Done
        }
        Op::Commit(_, other) => {
            let other = other.map(BodyNo::get);
            let manifest = &other.as_ref().unwrap_or(body).manifest;
            Answer::of(store.commit(token, manifest).await)
        }
        Op::Abort(_) => Answer::of(store.abort(token, "given up").await),
        _ => Answer::of(store.renew(token).await),
    }
}

async fn read(store: &dyn Store, key: &MessageKey) -> Result<Answer, StoreError> {
    let opened = store.open(key).await?;
    let all = 0..opened.manifest.chunk_count();
    let chunks: Vec<Bytes> = read_chunks(store, &key.principal, opened.record.id, all).await?;
    let record = Box::new(seen(opened.record));
    Ok(Answer::Message(record, Box::new(opened.manifest), chunks))
}

/// Purges until nothing is left: which messages go first is the store's own.
async fn purge(store: &dyn Store, options: &PurgeOptions) -> Result<PurgeReport, StoreError> {
    let mut total = PurgeReport::default();
    loop {
        let batch = store.purge(options).await?;
        total.absorb(&batch);
        if !batch.more || batch.removed() == 0 {
            total.more = false;
            return Ok(total);
        }
    }
}
