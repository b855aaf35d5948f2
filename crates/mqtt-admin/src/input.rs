//! What a request brings with it, taken apart; what is wrong with it becomes a [`Problem`].

use axum::{
    Form, Json,
    extract::{FromRequest, FromRequestParts, Path, Query, Request},
    http::{StatusCode, header, request::Parts},
};
use serde::{Deserialize, de::DeserializeOwned};
use utoipa::IntoParams;

use crate::problem::Problem;

/// A body: JSON, or a form as the system of 2018 had it.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
        match kind.to_ascii_lowercase().as_str() {
            "application/json" => Ok(Self(Json::from_request(request, state).await?.0)),
            "application/x-www-form-urlencoded" => Ok(Self(Form::from_request(request, state).await?.0)),
            _ => Err(Problem::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "the body must be application/json or application/x-www-form-urlencoded, and Content-Type say which",
            )),
        }
    }
}

/// The part of the path that names a client. If it is `-`, the query may name another.
pub(crate) struct Name(pub(crate) String);

/// For the clients that no path can name.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct Named {
    /// Who, if the path has `-` in his place: what sends a request takes `.` and `..` for a way through the path.
    client_id: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Path(name) = Path::<String>::from_request_parts(parts, state).await?;
        if name != "-" {
            return Ok(Self(name));
        }
        let Query(Named { client_id }) = Query::from_request_parts(parts, state).await?;
        Ok(Self(client_id.unwrap_or(name)))
    }
}

/// The query of a request.
pub(crate) struct Asked<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(Query::<T>::from_request_parts(parts, state).await?.0))
    }
}
