//! A body that nobody reads to its end. The HTTP library would go on taking a chunked one after its
//! answer for as long as the caller sends it; here the connection is closed instead.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{BodySize, EitherBody, MessageBody};
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::TRANSFER_ENCODING;
use actix_web::web::Bytes;
use actix_web::{Error, HttpMessage};
use futures_core::Stream;

type Body = Rc<RefCell<Payload>>;

/// The body of a request for who reads it; its answer holds it too.
struct Shared(Body);

impl Stream for Shared {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut *self.0.borrow_mut()).poll_next(context)
    }
}

/// An answer that holds the body of its request until it is sent.
pub struct Holding<B> {
    answer: Pin<Box<B>>,
    _request: Body,
}

impl<B: MessageBody> MessageBody for Holding<B> {
    type Error = B::Error;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, B::Error>>> {
        self.get_mut().answer.as_mut().poll_next(context)
    }
}

/// Keeps a chunked body until the answer is sent: the library closes a connection whose body is
/// unread but held, and reads on where it was let go. One with a length it closes anyway.
///
/// # Errors
/// Those of the service, which the library turns into answers.
pub fn close_after<S, B>(
    mut request: ServiceRequest,
    service: &S,
) -> impl Future<Output = Result<ServiceResponse<EitherBody<B, Holding<B>>>, Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody,
{
    let held = request.headers().contains_key(TRANSFER_ENCODING).then(|| {
        let body = Rc::new(RefCell::new(request.take_payload()));
        let shared: Pin<Box<dyn Stream<Item = Result<Bytes, PayloadError>>>> =
            Box::pin(Shared(Rc::clone(&body)));
        request.set_payload(shared.into());
        body
    });
    let answering = service.call(request);
    async move {
        let response = answering.await?;
        Ok(match held {
            None => response.map_into_left_body(),
            Some(request) => response.map_body(|_, answer| EitherBody::Right {
                body: Holding { answer: Box::pin(answer), _request: request },
            }),
        })
    }
}
