//! A request and its reply as one future.
//!
//!     call(connection, &MetadataRequest { .. }).await ─▶ MetadataReply, or why not
//!
//! Cancel safe: a call that is dropped has been sent all the same, and its reply is thrown away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::api::{Api, ErrorResponse, Message, Writer};
use protocol::frame::FrameKind;
use tokio::sync::oneshot;

use super::connection::{Answer, Connection, Until};
use crate::error::{AdminError, ConnectionError};

pub(crate) async fn call<Q: Message, R: Message>(
    connection: &Connection,
    request: &Q,
    timeout: Duration,
) -> Result<R, AdminError> {
    call_with(connection, Q::API, |w| request.write(w), timeout).await
}

/// The same for a request that is written from borrowed parts.
pub(crate) async fn call_with<R: Message>(
    connection: &Connection,
    api: Api,
    write: impl FnOnce(&mut Writer<'_>),
    timeout: Duration,
) -> Result<R, AdminError> {
    let (tell, told) = oneshot::channel();
    let completion = Box::new(move |answer| {
        // Whoever asked may have gone.
        let _ = tell.send(answer);
    });
    connection.submit(api, write, std::iter::empty(), Until::Reply(timeout), Instant::now(), completion);
    let answer = told.await.expect("BUG: a connection answers every request")?;
    read_reply(connection.address(), &answer)
}

/// Decodes a reply, or the refusal of the whole request.
pub(crate) fn read_reply<R: Message>(address: &Arc<str>, answer: &Answer) -> Result<R, AdminError> {
    let Answer::Reply { header, body } = answer else { unreachable!("BUG: a call waits for its reply") };
    let unreadable =
        |cause| AdminError::Connection(ConnectionError::Reply { address: Arc::clone(address), cause });
    if header.kind == FrameKind::ErrorReply {
        let refusal = ErrorResponse::read(body).map_err(unreadable)?;
        return Err(AdminError::Refused { code: refusal.error, message: refusal.message });
    }
    R::read(body).map_err(unreadable)
}
