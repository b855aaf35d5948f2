//! The routes of the API: a file for each thing that it is about. Who may use them is decided here, for all at once.

mod bans;
mod clients;
pub(crate) mod counters;
mod health;
mod history;
mod messages;
mod metrics;
mod retained;
mod sessions;
mod subscriptions;
mod system;
mod trace;
mod view;
mod watch;

use std::{
    convert::Infallible,
    sync::{Arc, OnceLock},
    time::Instant,
};

use axum::{
    Router,
    body::{Body, HttpBody},
    extract::{DefaultBodyLimit, Request, State},
    handler::Handler,
    http::{HeaderValue, Method, StatusCode, header},
    middleware::{Next, from_fn, from_fn_with_state},
    response::{IntoResponse, Response, sse::Event},
    routing::{MethodFilter, on},
};
use futures_util::StreamExt;
use serde::Serialize;
use tokio::time::timeout;
use utoipa_axum::{PathItemExt, paste};

use crate::{admin::Admin, auth::Role, dashboard, problem::Problem, server::Guest};

/// Of each list of handlers a router, on the paths and methods that stand above the handlers; and of all lists together the
/// description that `openapi.json` is, which no program carries the making of: with its schemas that is several times the file.
macro_rules! routes {
    ($($(#[$about:meta])* fn $list:ident() { $($module:ident::$handler:ident,)* })*) => {
        $(
            $(#[$about])*
            fn $list() -> Router<Admin> {
                let router = Router::new();
                $(let router = paste! { serve::<$module::[<__path_ $handler>], _, _>(router, $module::$handler) };)*
                router
            }
        )*

        #[cfg(test)]
        #[derive(utoipa::OpenApi)]
        #[openapi(
            paths($($($module::$handler,)*)*),
            info(
                title = "gmqtt",
                description = "Look at an MQTT broker, and act on it. Every request needs `Authorization: Bearer TOKEN`; \
                               a token is for reading, or for all. Errors are `application/problem+json` (RFC 9457). \
                               Times are RFC 3339.",
            ),
        )]
        struct Described;
    };
}

routes! {
    /// What needs a token.
    fn guarded() {
        metrics::metrics,
        system::overview,
        history::history,
        system::websockets,
        watch::messages,
        watch::topics,
        clients::list,
        clients::get,
        clients::disconnect,
        clients::events,
        sessions::list,
        sessions::queue,
        retained::list,
        retained::forget,
        retained::get,
        bans::list,
        bans::ban,
        bans::forgive,
        trace::trace,
        sessions::get,
        sessions::end,
        subscriptions::list,
        subscriptions::of_client,
        subscriptions::subscribe,
        subscriptions::unsubscribe,
        messages::publish,
        messages::publish_batch,
        messages::broadcast,
        system::config,
        system::reload,
        system::log_level,
        system::set_log_level,
        system::backup,
    }

    /// What needs none.
    fn open() {
        health::livez,
        health::readyz,
        health::openapi,
        health::page,
    }
}

/// All routes, ready to be served.
pub(crate) fn router(admin: &Admin) -> Router {
    let guarded = guarded()
        .fallback(async || Problem::not_found("there is nothing at this path; see /api/openapi.json"))
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "see /api/openapi.json for what may be done here")
        })
        .layer(DefaultBodyLimit::max(admin.shared().options.max_body_size))
        .layer(from_fn_with_state(admin.clone(), in_time))
        .layer(from_fn_with_state(admin.clone(), authorize))
        .with_state(admin.clone());
    open().merge(dashboard::router()).with_state(admin.clone()).merge(guarded).layer(from_fn(plainly))
}

/// A handler where its description says.
fn serve<D, H, T>(router: Router<Admin>, handler: H) -> Router<Admin>
where
    D: utoipa::Path,
    H: Handler<T, Admin>,
    T: 'static,
{
    let methods = D::methods().into_iter().map(|method| method.to_method_filter());
    let methods = methods.reduce(MethodFilter::or).unwrap_or(MethodFilter::GET);
    router.route(&D::path(), on(methods, handler))
}

/// Lets through who shows a token that allows it, for as long as it does, and writes down who changed what.
async fn authorize(State(admin): State<Admin>, mut request: Request, next: Next) -> Response {
    let unknown = |detail: &str| {
        let problem = Problem::new(StatusCode::UNAUTHORIZED, detail);
        ([(header::WWW_AUTHENTICATE, "Bearer")], problem).into_response()
    };
    let Some(secret) = secret_of(&request) else {
        return unknown("show a token: `Authorization: Bearer TOKEN`");
    };
    let Some(bearer) = admin.bearer_of(&secret) else {
        return unknown("this token is not, or no longer, accepted");
    };
    if let Some(guest) = request.extensions().get::<Guest>() {
        guest.is_known();
    }
    let is_change = !matches!(*request.method(), Method::GET | Method::HEAD);
    let role = if is_change { Role::Write } else { Role::Read };
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if bearer.role < role {
        tracing::warn!(target: AUDIT, token = bearer.name, %method, path, "refused: the token is for reading");
        return Problem::new(
            StatusCode::FORBIDDEN,
            "this token is for reading; this takes one with the role write",
        )
        .into_response();
    }
    let mut line = is_change.then(|| {
        let noted = Noted::default();
        request.extensions_mut().insert(noted.clone());
        AuditLine { token: bearer.name.clone(), method, path, noted, status: None }
    });
    request.extensions_mut().insert(bearer);
    let response = next.run(request).await;
    if let Some(line) = &mut line {
        line.status = Some(response.status());
    }
    drop(line);
    response.map(|body| until(body, admin.revoked(secret, role)))
}

/// A live answer ends when its token is revoked. One whose length is known is made already, and goes out whole.
fn until(body: Body, revoked: impl Future<Output = ()> + Send + 'static) -> Body {
    if body.size_hint().exact().is_some() {
        return body;
    }
    Body::from_stream(body.into_data_stream().take_until(revoked))
}

/// Where the audit log goes: `--log-level gmqtt::audit=info` shows it alone.
const AUDIT: &str = "gmqtt::audit";

/// What a change is about, for the audit log; what it carries is not in it. A handler says it before it acts, so that the line
/// has it whatever comes of the request.
#[derive(Clone, Default)]
struct Noted(Arc<OnceLock<String>>);

/// So much of it is written down: names in a body may be as long as the body.
const LONGEST_NOTE: usize = 4 * 1024;

impl Noted {
    fn say(&self, mut what: String) {
        if what.len() > LONGEST_NOTE {
            what.truncate(what.floor_char_boundary(LONGEST_NOTE));
            what.push('…');
        }
        let _ = self.0.set(what); // What was said first was about the same.
    }
}

/// The line of a change. Its end writes it, because the request may end before its handler does: when whoever asked has hung up,
/// what was begun is done all the same.
struct AuditLine {
    token: String,
    method: Method,
    path: String,
    noted: Noted,
    status: Option<StatusCode>,
}

impl Drop for AuditLine {
    fn drop(&mut self) {
        let Self { token, method, path, noted, status } = self;
        let (what, status) = (noted.0.get().map(String::as_str), status.map(|status| status.as_u16()));
        let end = if status.is_some() { "change" } else { "change; not answered" };
        tracing::info!(target: AUDIT, token, %method, path, what, status, "{end}");
    }
}

/// What a live stream consists of.
type Sent = std::result::Result<Event, Infallible>;

fn json(value: &impl Serialize) -> Event {
    // A struct of numbers and text is always spelled.
    Event::default().json_data(value).unwrap_or_default()
}

/// The token that a request shows.
fn secret_of(request: &Request) -> Option<String> {
    let shown = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, secret) = shown.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| secret.trim().to_owned())
}

/// A client that sends its request slowly is not waited for.
async fn in_time(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let options = &admin.shared().options;
    let limit =
        if request.uri().path() == system::BACKUP { options.backup_timeout } else { options.request_timeout };
    let begun = Instant::now();
    timeout(limit, next.run(request)).await.unwrap_or_else(|_| {
        tracing::debug!(elapsed = ?begun.elapsed(), "a request of the API took too long");
        Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("not done within {}", humantime::format_duration(limit)),
        )
        .into_response()
    })
}

/// Nobody keeps an answer, frames a page of ours, or takes it for something else.
async fn plainly(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    let all = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    for (name, value) in all {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use serde::Serialize as _;
    use serde_json::{Serializer, ser::PrettyFormatter};
    use utoipa::{
        OpenApi,
        openapi::security::{HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme},
    };

    use super::Described;

    /// Mend it with: `GMQTT_WRITE=1 cargo test -p mqtt-admin --lib the_description`.
    #[test]
    fn the_description_is_that_of_the_handlers() {
        let mut all = Described::openapi();
        let bearer = SecurityScheme::Http(HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build());
        all.components.get_or_insert_default().add_security_scheme("token", bearer);
        all.security = Some(vec![SecurityRequirement::new::<_, [&str; 0], &str>("token", [])]);
        let mut made = Vec::new();
        // A line for each thing, so that a change can be read, and no more of it than that: it is in the program.
        let mut lines = Serializer::with_formatter(&mut made, PrettyFormatter::with_indent(b" "));
        all.serialize(&mut lines).unwrap();
        made.push(b'\n');
        if env::var_os("GMQTT_WRITE").is_some() {
            fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json"), &made).unwrap();
            return;
        }
        let kept = include_str!("../../openapi.json");
        assert!(kept.as_bytes() == made, "run: GMQTT_WRITE=1 cargo test -p mqtt-admin --lib the_description");
    }
}
