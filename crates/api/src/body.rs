//! The body of an answer.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as HttpBody, Frame};

/// What an answer carries: all at once, or piece by piece as it comes.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// An answer.
pub type Response = http::Response<Body>;

/// A body that is there at once.
#[must_use]
pub fn full(content: impl Into<Bytes>) -> Body {
    Full::new(content.into())
        .map_err(|never: std::convert::Infallible| match never {})
        .boxed_unsync()
}

/// A body that comes piece by piece: `next` gives a piece and the state for the next one, or ends it.
///
/// A piece is asked for only when the connection has room for it, so a reader that is slow, or stands still,
/// costs one piece of memory and no more.
pub fn stream<S, F, P>(state: S, next: F) -> Body
where
    F: FnMut(S) -> P + Send + Unpin + 'static,
    P: Future<Output = Option<(Bytes, S)>> + Send + 'static,
    S: 'static,
{
    let mut next = next;
    let pending = Some(Box::pin(next(state)));
    Pieces { next, pending }.boxed_unsync()
}

struct Pieces<F, P> {
    next: F,
    /// `None` at the end.
    pending: Option<Pin<Box<P>>>,
}

impl<S, F, P> HttpBody for Pieces<F, P>
where
    F: FnMut(S) -> P + Unpin,
    P: Future<Output = Option<(Bytes, S)>>,
{
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(pending) = self.pending.as_mut() else {
            return Poll::Ready(None);
        };
        let piece = ready!(pending.as_mut().poll(context));
        let Some((bytes, state)) = piece else {
            self.pending = None;
            return Poll::Ready(None);
        };
        let following = (self.next)(state);
        if let Some(pending) = self.pending.as_mut() {
            pending.set(following);
        }
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.pending.is_none()
    }
}
