//! The guard as actix-web middleware. A refused request never reaches the service behind it.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::{Error, ResponseError};

use super::Guard;

/// A service behind a guard.
pub struct Guarded<S> {
    guard: Guard,
    service: Rc<S>,
}

impl<S, B> Transform<S, ServiceRequest> for Guard
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = Guarded<S>;
    type InitError = ();
    type Future = Ready<Result<Guarded<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Guarded { guard: self.clone(), service: Rc::new(service) }))
    }
}

impl<S, B> Service<ServiceRequest> for Guarded<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let guard = self.guard.clone();
        let service = Rc::clone(&self.service);
        Box::pin(async move {
            match guard.admit(&request).await {
                Ok(()) => service.call(request).await.map(ServiceResponse::map_into_left_body),
                Err(refused) => {
                    tracing::debug!(cause = %refused, "refused at the guard");
                    // A response, not an error: middleware further out may add its headers.
                    let answer = refused.error_response();
                    Ok(request.into_response(answer).map_into_right_body())
                }
            }
        })
    }
}
