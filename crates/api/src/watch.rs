//! Following a collection.
//!
//! A watch is a body without an end: lines of JSON, one an event, made as the connection has room for them. What
//! it holds is a cursor into the store ([`probelet_store::Watch`]) and, at its beginning, what there was; never
//! events that wait. A reader that stands still costs nothing, and when it comes back too late it is told so by
//! an `ERROR` of code 410. The text of an event is made once for all who watch ([`Watches`]).

mod shared;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use probelet_model::time::Now;
use probelet_store::{Change, ChangeKind, Gone, Object, Store, Version};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Sleep;

use crate::body::{self, Body};
use crate::failure::Failure;
use crate::negotiate::{Media, Shape};
use crate::present::{Metadata, Table};
use crate::registry::as_asked_for;
use crate::resource::Resource;
use crate::route::options::WatchOptions;
use crate::selector::Selector;
use crate::table;

use shared::{EventKind, Key};
pub use shared::{OpenWatch, Watches};

/// How much is put into one piece of the body; the last event may go beyond.
const PIECE: usize = 32 * 1024;
/// How often a quiet watch says how far it has come.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// A watch that does not say how long it wants to last gets this long, and up to twice of it: upstream's
/// `MinRequestTimeout`.
const LEAST_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// What is followed, and how it is told.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Of which resource.
    pub resource: &'static Resource,
    /// In which namespace; empty for all.
    pub namespace: String,
    /// Which objects.
    pub selector: Selector,
    /// In which shape.
    pub media: Media,
}

/// What a watch needs of its surroundings.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// Where the objects are.
    pub store: Arc<Store>,
    /// What all watches share.
    pub watches: Arc<Watches>,
    /// The clocks, for the ages in tables.
    pub clock: fn() -> Now,
    /// True once the server ends.
    pub stopping: tokio::sync::watch::Receiver<bool>,
    /// Any number, by which the ends of watches are spread.
    pub random: u64,
}

/// Begins a watch.
///
/// # Errors
/// [`Failure`]: 404 for a resource that has no objects, 429 for one watch too many, 504 if the client knows
/// of a version that has not been yet. A version that is no longer remembered is no failure but an event.
pub fn open(
    subject: Subject,
    options: &WatchOptions,
    around: Surroundings,
) -> Result<Body, Failure> {
    let kind = subject
        .resource
        .stored
        .ok_or_else(Failure::no_such_resource)?;
    let open = around.watches.open()?;
    let from_the_beginning = options.initial_events.unwrap_or(options.version.is_none());
    let (mut initial, mut at) = (Vec::new(), options.version);
    if from_the_beginning {
        let (objects, version) = if subject.namespace.is_empty() {
            around.store.list(kind)
        } else {
            around.store.list_in(kind, &subject.namespace)
        };
        if let Some(asked) = options.version.filter(|asked| *asked > version) {
            return Err(too_large(asked, version));
        }
        initial = objects;
        initial.retain(|object| subject.selector.matches(&object.value));
        at = Some(version);
    }
    let from = at.unwrap_or_else(|| around.store.version());
    let changes = around.store.watch_kinds(from, &[kind]);
    let spread = Duration::from_secs(around.random % LEAST_TIMEOUT.as_secs());
    let timeout = options.timeout.unwrap_or(LEAST_TIMEOUT + spread);
    let bookmarks = options.bookmarks;
    let watching = Watching {
        initial: initial.into_iter(),
        announced: (from_the_beginning && options.initial_events == Some(true) && bookmarks)
            .then_some(from),
        changes,
        ended: false,
        columns_told: false,
        bookmarks,
        bookmark: Box::pin(tokio::time::sleep(BOOKMARK_EVERY)),
        deadline: Box::pin(tokio::time::sleep(timeout)),
        subject,
        around,
        _open: open,
    };
    Ok(body::stream(watching, Watching::next))
}

/// A watch under way.
struct Watching {
    subject: Subject,
    around: Surroundings,
    /// What there was, as far as it has not been told.
    initial: std::vec::IntoIter<Object>,
    /// The version to be announced once `initial` is told.
    announced: Option<Version>,
    changes: Result<probelet_store::Watch, Gone>,
    ended: bool,
    columns_told: bool,
    bookmarks: bool,
    bookmark: std::pin::Pin<Box<Sleep>>,
    deadline: std::pin::Pin<Box<Sleep>>,
    _open: OpenWatch,
}

/// Why a watch goes on.
enum Woken {
    Nothing,
    Stopping,
    Change(Result<Change, Gone>),
    Deadline,
    Bookmark,
}

impl Watching {
    /// The next piece: whatever there is by now, or what comes first.
    async fn next(mut self) -> Option<(Bytes, Self)> {
        let mut piece = Vec::new();
        while !self.ended {
            self.take(&mut piece);
            let woken = self.wait(piece.is_empty()).await;
            self.act(woken, &mut piece);
            if !piece.is_empty() {
                return Some((piece.into(), self));
            }
        }
        None
    }

    /// Writes what there is already, until the piece is full.
    fn take(&mut self, piece: &mut Vec<u8>) {
        while piece.len() < PIECE {
            if let Some(object) = self.initial.next() {
                self.write(EventKind::Added, object.version, &object.value, piece);
                continue;
            }
            if let Some(version) = self.announced.take() {
                self.write_bookmark(version, true, piece);
                continue;
            }
            let next = match &mut self.changes {
                Ok(changes) => changes.try_next(),
                Err(gone) => Err(*gone),
            };
            match next {
                Ok(Some(change)) => self.write_change(&change, piece),
                Ok(None) => return,
                Err(gone) => {
                    write_gone(gone, piece);
                    self.ended = true;
                    return;
                }
            }
        }
    }

    /// What comes first; with `patient` false, what is there already.
    async fn wait(&mut self, patient: bool) -> Woken {
        let Ok(changes) = &mut self.changes else {
            return Woken::Nothing;
        };
        tokio::select! {
            biased;
            // The sender is gone only with the server.
            _ended = self.around.stopping.wait_for(|stopping| *stopping) => Woken::Stopping,
            () = &mut self.deadline => Woken::Deadline,
            () = std::future::ready(()), if !patient => Woken::Nothing,
            change = changes.next() => Woken::Change(change),
            () = &mut self.bookmark, if self.bookmarks => Woken::Bookmark,
        }
    }

    fn act(&mut self, woken: Woken, piece: &mut Vec<u8>) {
        match woken {
            Woken::Nothing => {}
            Woken::Stopping => self.ended = true,
            Woken::Change(Ok(change)) => self.write_change(&change, piece),
            Woken::Change(Err(gone)) => {
                write_gone(gone, piece);
                self.ended = true;
            }
            Woken::Deadline => {
                if self.bookmarks {
                    self.write_position(piece);
                }
                self.ended = true;
            }
            Woken::Bookmark => {
                self.bookmark = Box::pin(tokio::time::sleep(BOOKMARK_EVERY));
                self.write_position(piece);
            }
        }
    }

    /// Writes what a change means for this reader, if it means anything.
    ///
    /// Upstream: apiserver pkg/storage/cacher/cache_watcher.go, convertToWatchEvent.
    /// Shown by: what_leaves_a_selection_is_gone_and_what_enters_it_is_new.
    fn write_change(&mut self, change: &Change, piece: &mut Vec<u8>) {
        let namespace = &self.subject.namespace;
        if !namespace.is_empty() && *namespace != change.key.namespace {
            return;
        }
        let selector = &self.subject.selector;
        let selected = |value: &Arc<Value>| selector.is_empty() || selector.matches(value);
        let was = change.before.as_ref().filter(|before| selected(before));
        let is = change.kind != ChangeKind::Deleted && selected(&change.object);
        match (was, is) {
            (None, false) => {}
            (None, true) => self.write(EventKind::Added, change.version, &change.object, piece),
            (Some(_), true) => {
                self.write(EventKind::Modified, change.version, &change.object, piece);
            }
            (Some(_), false) if change.kind == ChangeKind::Deleted => {
                self.write(EventKind::Deleted, change.version, &change.object, piece);
            }
            (Some(before), false) => {
                // As it was when it was last seen, at the version of its going.
                let mut last = Value::clone(before);
                last["metadata"]["resourceVersion"] = change.version.to_string().into();
                self.write(EventKind::Deleted, change.version, &Arc::new(last), piece);
            }
        }
    }

    fn write(
        &mut self,
        kind: EventKind,
        version: Version,
        value: &Arc<Value>,
        piece: &mut Vec<u8>,
    ) {
        let Subject {
            resource, media, ..
        } = &self.subject;
        let shown = || as_asked_for(resource, value);
        if let Shape::Table(meta) = media.shape {
            let columns = if self.columns_told {
                Value::Null
            } else {
                table::columns(resource)
            };
            self.columns_told = true;
            let now = (self.around.clock)().wall;
            let rows = table::rows(resource, &[shown()], media.include, now);
            let metadata = json!({"resourceVersion": version.to_string()});
            let table = Table::new(meta, metadata, columns, rows);
            write_line(kind.name(), &table, piece);
            return;
        }
        let key = Key {
            version,
            kind,
            shape: media.shape,
            group: resource.group,
        };
        let line = self.around.watches.line(key, |line| match media.shape {
            Shape::Metadata(meta) => {
                write_line(kind.name(), &Metadata::of(meta, &shown()), line);
            }
            Shape::Object | Shape::Table(_) => write_line(kind.name(), shown().as_ref(), line),
        });
        piece.extend_from_slice(&line);
    }

    fn write_position(&mut self, piece: &mut Vec<u8>) {
        if let Ok(changes) = &self.changes {
            self.write_bookmark(changes.position(), false, piece);
        }
    }

    /// Writes how far the reader has come, and whether that is the end of the initial events.
    ///
    /// Upstream: the initial events' end is told by an annotation, apiserver pkg/storage/cacher/cache_watcher.go.
    /// Shown by: initial_events_have_an_end.
    fn write_bookmark(&mut self, version: Version, initial_end: bool, piece: &mut Vec<u8>) {
        let mut metadata = json!({
            "resourceVersion": version.to_string(),
            "creationTimestamp": null,
        });
        if initial_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let resource = self.subject.resource;
        let bookmark = json!({
            "kind": resource.kind,
            "apiVersion": resource.api_version(),
            "metadata": metadata,
        });
        match self.subject.media.shape {
            Shape::Object => write_line("BOOKMARK", &bookmark, piece),
            Shape::Metadata(meta) => {
                write_line("BOOKMARK", &Metadata::of(meta, &bookmark), piece);
            }
            Shape::Table(meta) => {
                let metadata = bookmark["metadata"].clone();
                let table = Table::new(meta, metadata, Value::Null, Vec::new());
                write_line("BOOKMARK", &table, piece);
            }
        }
    }
}

fn write_line(kind: &str, object: &impl Serialize, line: &mut Vec<u8>) {
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    serde_json::to_writer(&mut *line, object)
        .expect("what is told is JSON, and a Vec takes all of it");
    line.extend_from_slice(b"}\n");
}

/// Writes that the reader has come too late, or has fallen too far behind.
///
/// Upstream: apiserver pkg/storage/cacher/watch_cache.go, getAllEventsSinceLocked.
/// Shown by: who_comes_too_late_is_told_so.
fn write_gone(gone: Gone, piece: &mut Vec<u8>) {
    let message = format!("too old resource version: {} ({})", gone.asked, gone.oldest);
    let message = if gone.asked > gone.newest {
        gone.to_string()
    } else {
        message
    };
    write_line("ERROR", &Failure::expired(message).to_status(), piece);
}

/// What a client is told that asks for a version which has not been yet.
///
/// Upstream: apiserver pkg/storage/errors.go, NewTooLargeResourceVersionError.
/// Shown by: initial_events_have_an_end.
fn too_large(asked: Version, current: Version) -> Failure {
    let message = format!("Too large resource version: {asked}, current: {current}");
    let mut failure = Failure::new(504, "Timeout", message);
    failure.details = json!({
        "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
        "retryAfterSeconds": 1,
    });
    failure
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;
    use probelet_model::id::Kind;
    use tokio::time::Instant;

    use super::*;

    struct Quiet {
        body: Body,
        began: Instant,
        _stop: tokio::sync::watch::Sender<bool>,
    }

    impl Quiet {
        /// A watch of a store in which nothing happens.
        fn new(bookmarks: bool, random: u64) -> Self {
            let (stop, stopping) = tokio::sync::watch::channel(false);
            let subject = Subject {
                resource: Resource::of(Kind::Pod),
                namespace: String::new(),
                selector: Selector::default(),
                media: Media::default(),
            };
            let around = Surroundings {
                store: Arc::new(Store::in_memory()),
                watches: Watches::new(1),
                clock: Now::default,
                stopping,
                random,
            };
            let options = WatchOptions {
                bookmarks,
                ..WatchOptions::default()
            };
            Self {
                body: open(subject, &options, around).unwrap(),
                began: Instant::now(),
                _stop: stop,
            }
        }

        /// The next piece, and when it came.
        async fn next(&mut self) -> (Option<String>, u64) {
            let frame = self.body.frame().await;
            let piece = frame.map(|frame| frame.unwrap().into_data().unwrap());
            let text = piece.map(|piece| String::from_utf8(piece.to_vec()).unwrap());
            (text, self.began.elapsed().as_secs())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_quiet_watch_says_how_far_it_has_come() {
        let mut quiet = Quiet::new(true, 0);
        let bookmark = "{\"type\":\"BOOKMARK\",\"object\":{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"creationTimestamp\":null,\"resourceVersion\":\"0\"}}}\n";
        for minute in 1..=3 {
            let (piece, seconds) = quiet.next().await;
            assert_eq!((piece.as_deref(), seconds), (Some(bookmark), minute * 60));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn watches_that_do_not_say_how_long_end_one_after_the_other() {
        for (random, minutes) in [(0, 30), (600, 40), (1799, 59), (1800, 30)] {
            let (piece, seconds) = Quiet::new(false, random).next().await;
            assert_eq!((piece, seconds / 60), (None, minutes), "{random}");
        }
    }
}
