//! What host and worker say to each other over their socket.
//!
//! `u32 length | u64 call | head | payload`. The length counts what follows it. The head is postcard, which is sound because both
//! ends are one build; the payload is the plugin's or host's message, passed on unread.

use std::io::{self, Read, Write};

use pairwise_plugin_api::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::sandbox;

/// Changes with anything in this file.
pub(super) const PROTOCOL: u32 = 2;

/// Frames up to this size are sent with one system call.
const SMALL: usize = 8 * 1024;

/// From the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToWorker {
    /// The first frame.
    Hello(Hello),
    /// Opens the library and makes the connector; the payload is its settings.
    Load { id: String, version: String, library: String },
    /// Carries out an operation; the payload is the request. A connector that bears two calls may read the page after the one
    /// that is asked for, `ahead` of its request.
    Call { op: u32, ahead: bool },
    /// Asks the call of the frame to stop.
    Cancel,
    /// Wants a `Pong`.
    Ping,
    /// Finishes and ends.
    Shutdown,
}

/// The first frame of the host.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub protocol: u32,
    pub build: String,
    /// Log messages beyond this level are not wanted; 0 is none.
    pub log_level: u8,
    pub largest_frame: u64,
    pub sandbox: sandbox::Policy,
}

/// From the worker.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum ToHost {
    /// The first frame: same build, and what the sandbox came to.
    Hello { build: String, sandbox: sandbox::Status },
    /// The connector is there.
    Ready,
    /// It is not, and never will be.
    LoadFailed { why: String },
    /// It refused its settings.
    Refused(FailureParts),
    /// An answer; it is the payload.
    Return,
    /// A call failed.
    Fail(FailureParts),
    /// A call got something done.
    Progress { done: u64, total: u64 },
    /// A message beside the answer; it is the payload.
    Emit { kind: u32 },
    /// A line of the plugin's log; its fields are the payload.
    Log { level: u8, target: String, message: String, dropped: u64 },
    /// It lives.
    Pong,
}

/// A [`Failure`] on its way; the detail that may grow is passed on unread.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FailureParts(u32, String, Vec<u8>);

impl From<Failure> for FailureParts {
    fn from(failure: Failure) -> Self {
        let (class, text, detail) = failure.into_parts();
        FailureParts(class, text, detail)
    }
}

impl From<FailureParts> for Failure {
    fn from(FailureParts(class, text, detail): FailureParts) -> Self {
        Failure::from_parts(class, text, &detail)
    }
}

/// A frame that came in.
#[derive(Debug)]
pub(super) struct Frame<H> {
    pub call: u64,
    pub head: H,
    bytes: Vec<u8>,
    payload: usize,
}

impl<H> Frame<H> {
    pub(super) fn payload(&self) -> &[u8] {
        &self.bytes[self.payload..]
    }

    /// The head, and the frame without it.
    pub(super) fn split(self) -> (H, Frame<()>) {
        let Frame { call, head, bytes, payload } = self;
        (head, Frame { call, head: (), bytes, payload })
    }
}

/// Sends a frame. A call of 0 is none.
pub(super) fn send<H: Serialize>(mut to: impl Write, call: u64, head: &H, payload: &[u8]) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    bytes.extend_from_slice(&call.to_le_bytes());
    let mut bytes = postcard::to_extend(head, bytes).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - 4 + payload.len())
        .map_err(|_| io::Error::other(format!("a message of {} bytes is too large", payload.len())))?;
    bytes[..4].copy_from_slice(&length.to_le_bytes());
    if payload.len() <= SMALL {
        bytes.extend_from_slice(payload);
        return to.write_all(&bytes);
    }
    to.write_all(&bytes)?;
    to.write_all(payload)
}

/// Reads frames from one end.
#[derive(Debug)]
pub(super) struct Frames<R> {
    from: R,
    /// No frame may be larger; checked before memory is reserved.
    largest: u64,
}

impl<R: Read> Frames<R> {
    pub(super) fn new(from: R, largest: u64) -> Self {
        Frames { from, largest }
    }

    pub(super) fn allow(&mut self, largest: u64) {
        self.largest = largest;
    }

    /// The next frame, or `None` at the end of the stream. Where reads have a timeout, `idle` runs at each one.
    pub(super) fn next<H: DeserializeOwned>(&mut self, mut idle: impl FnMut()) -> io::Result<Option<Frame<H>>> {
        let mut bytes = Vec::with_capacity(4);
        self.fill(&mut bytes, 4, &mut idle)?;
        let Ok(length) = <[u8; 4]>::try_from(bytes.as_slice()) else {
            return if bytes.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        };
        let length = u64::from(u32::from_le_bytes(length));
        if length > self.largest {
            return Err(io::Error::other(format!("a frame of {length} bytes; the limit is {}", self.largest)));
        }
        let length = usize::try_from(length).map_err(io::Error::other)?;
        let mut bytes = Vec::with_capacity(length);
        self.fill(&mut bytes, length, &mut idle)?;
        let Some((call, rest)) = bytes.split_first_chunk::<8>().filter(|_| bytes.len() == length) else {
            return Err(io::ErrorKind::UnexpectedEof.into());
        };
        let (head, left) = postcard::take_from_bytes(rest).map_err(io::Error::other)?;
        let (call, payload) = (u64::from_le_bytes(*call), length - left.len());
        Ok(Some(Frame { call, head, bytes, payload }))
    }

    /// Reads until there are `length` bytes, or the stream ends.
    fn fill(&mut self, bytes: &mut Vec<u8>, length: usize, idle: &mut impl FnMut()) -> io::Result<()> {
        let mut filled = bytes.len();
        bytes.resize(length, 0);
        while filled < length {
            match self.from.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) => match error.kind() {
                    io::ErrorKind::Interrupted => {}
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => idle(),
                    _ => return Err(error),
                },
            }
        }
        bytes.truncate(filled);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may panic")]
mod tests {
    use super::*;

    fn frames(bytes: &[u8], largest: u64) -> Frames<&[u8]> {
        Frames::new(bytes, largest)
    }

    #[test]
    fn frames_are_read_as_they_were_sent() {
        let (mut bytes, large) = (Vec::new(), vec![7; 100_000]);
        send(&mut bytes, 0, &ToWorker::Ping, &[]).unwrap();
        send(&mut bytes, 5, &ToWorker::Call { op: 12, ahead: true }, &large).unwrap();
        let mut frames = frames(&bytes, 1 << 20);
        assert!(matches!(frames.next(|| ()).unwrap().unwrap(), Frame { call: 0, head: ToWorker::Ping, .. }));
        let call = frames.next::<ToWorker>(|| ()).unwrap().unwrap();
        assert!(
            matches!(call, Frame { call: 5, head: ToWorker::Call { op: 12, ahead: true }, .. })
                && call.payload() == large
        );
        assert!(frames.next::<ToWorker>(|| ()).unwrap().is_none());
    }

    #[test]
    fn a_frame_that_is_too_large_is_refused_before_it_is_read() {
        let error = frames(&u32::MAX.to_le_bytes(), 1 << 20).next::<ToHost>(|| ()).unwrap_err().to_string();
        assert!(error.contains("4294967295") && error.contains("1048576"), "{error}");
    }

    #[test]
    fn a_stream_that_ends_within_a_frame_is_an_error() {
        let mut bytes = Vec::new();
        send(&mut bytes, 1, &ToHost::Return, b"payload").unwrap();
        for length in [2, 8, bytes.len() - 1] {
            assert!(frames(&bytes[..length], 1 << 20).next::<ToHost>(|| ()).is_err(), "{length}");
        }
    }
}
