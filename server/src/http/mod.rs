//! The HTTP side: the carrier's webhooks and media socket, the control API, health.
//!
//! Who may use a route is part of the table of routes, and is seen to before the route's handler is reached: a route
//! cannot be added without saying it.

mod api;
#[cfg(test)]
#[path = "../../tests/fuzz/mod.rs"]
mod fuzz;
mod guard;
pub(crate) mod listen;
mod problem;
mod signature;
mod twilio;
mod twiml;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use reqwest::Url;

use crate::agent::{Agent, Provider};
use crate::calls::Calls;
use crate::commands::Commands;
use crate::config::{Config, OpenAi};
use crate::fetch::Fetcher;
use crate::outbound::Outbound;
use crate::store::Store;
use guard::Guard;
use problem::Problem;

/// A webhook is a few hundred bytes; caller name and geography included it stays far below this.
const BODY_MAX: usize = 64 * 1024;

/// From a request's head to our answer. The carrier gives up after 15 s.
const REQUEST_MAX: Duration = Duration::from_secs(10);

/// Header of `/healthz` that tells one running server from another.
pub(crate) const INSTANCE: &str = "patchcord-instance";

/// What every request may look at.
pub(crate) struct App {
    pub config: Config,
    /// Where the carrier reaches us: configured, or the listener's own address.
    pub public_url: Url,
    /// Whether we listen where only this machine reaches us.
    pub on_loopback: bool,
    pub calls: Calls,
    pub outbound: Outbound,
    pub store: Store,
    pub commands: Commands,
    pub fetcher: Fetcher,
    pub tls: Arc<rustls::ClientConfig>,
    /// Of [`INSTANCE`]: means nothing, and is another after each start.
    pub instance: String,
    /// The embedded model, if an agent wants it.
    #[cfg(feature = "voice")]
    pub local: Option<crate::local::Local>,
    /// What listens to calls beside their models.
    pub ears: Option<crate::ears::Ears>,
}

impl App {
    /// Whose account an agent's model is reached by, and the model's name there. `None`: it is the embedded one, and that
    /// is not here.
    pub fn model_of<'a>(&'a self, agent: &'a Agent) -> Option<(&'a OpenAi, &'a str)> {
        match agent.model.provider {
            Provider::OpenAi => Some((&self.config.openai, &agent.model.name)),
            #[cfg(feature = "voice")]
            Provider::Local => Some((self.local.as_ref()?.account(agent)?, agent.name.as_str())),
            #[cfg(not(feature = "voice"))]
            Provider::Local => None,
        }
    }
}

/// What answers at a path, and to whom.
struct Route {
    path: &'static str,
    guard: Guard,
    methods: MethodRouter<Arc<App>>,
}

/// Every path that there is. The carrier posts its webhooks, unless its console was told that it is to get them.
fn routes() -> Vec<Route> {
    let route = |path, guard, methods| Route { path, guard, methods };
    vec![
        route("/twilio/voice", Guard::Carrier, get(twilio::voice).post(twilio::voice)),
        route("/twilio/media/{token}", Guard::CarrierSocket, get(twilio::media)),
        route("/twilio/after-stream", Guard::Carrier, get(twilio::after_stream).post(twilio::after_stream)),
        route("/twilio/status", Guard::Carrier, get(twilio::status).post(twilio::status)),
        route("/twilio/stream-status", Guard::Carrier, get(twilio::stream_status).post(twilio::stream_status)),
        route("/twilio/recording", Guard::Carrier, get(twilio::recording).post(twilio::recording)),
        route("/twilio/amd", Guard::Carrier, get(twilio::amd).post(twilio::amd)),
        route("/api/v1/calls", Guard::Key, get(api::calls).post(api::place)),
        route("/api/v1/calls/{id}", Guard::Key, get(api::call)),
        route("/api/v1/calls/{id}/hangup", Guard::Key, post(api::hang_up)),
        route("/metrics", Guard::Key, get(api::metrics)),
        route("/healthz", Guard::None, get(healthy)),
        route("/readyz", Guard::None, get(ready)),
    ]
}

pub(crate) fn router(app: Arc<App>) -> Router {
    let mut router = Router::new();
    for Route { path, guard, methods } in routes() {
        // Not even which methods there are is told to everybody.
        let methods = methods.fallback(|| async {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "This path exists, but not for this method.")
        });
        let methods = match guard {
            Guard::None => methods,
            Guard::Carrier => methods.layer(from_fn_with_state(app.clone(), guard::webhook)),
            Guard::CarrierSocket => methods.layer(from_fn_with_state(app.clone(), guard::media_socket)),
            Guard::Key => methods.layer(from_fn_with_state(app.clone(), guard::key)),
        };
        router = router.route(path, methods);
    }
    router
        .fallback(|| async { Problem::new(StatusCode::NOT_FOUND, "There is nothing at this path.") })
        .layer(DefaultBodyLimit::max(BODY_MAX))
        .layer(from_fn(in_time))
        .with_state(app)
}

/// That we run; and which one we are, so that `patchcord check` knows whether the public URL leads to us.
async fn healthy(State(app): State<Arc<App>>) -> Response {
    ([(INSTANCE, app.instance.as_str())], "ok\n").into_response()
}

/// Whether we may be sent calls.
async fn ready(State(app): State<Arc<App>>) -> Response {
    if app.calls.is_closed() {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "The server is stopping.").into_response()
    } else if !app.calls.has_room() {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "All lines are busy; max_calls is the limit.").into_response()
    } else {
        "ready\n".into_response()
    }
}

async fn in_time(request: Request, next: Next) -> Response {
    match tokio::time::timeout(REQUEST_MAX, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT, "The request took too long to arrive.").into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Secret, Verify};
    use axum::body::Body;
    use axum::extract::ConnectInfo;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use std::net::SocketAddr;

    /// Somebody on the internet.
    const STRANGER: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)), 5_555);

    async fn open_to_strangers(
        data: &std::path::Path,
        change: impl FnOnce(&mut Config),
    ) -> TowerToHyperService<Router> {
        let mut config = Config { data: data.to_owned(), ..Config::default() };
        config.twilio.verify = Verify::UnlessLoopback;
        config.twilio.account_sid = Some("AC1".to_owned());
        config.twilio.auth_token = Some(Secret::new("token"));
        change(&mut config);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut server = crate::Server::new(config, listener).unwrap();
        Arc::get_mut(&mut server.app).expect("nobody else has it yet").on_loopback = false;
        server.app.store.open().await.unwrap();
        TowerToHyperService::new(router(server.app))
    }

    async fn ask(
        router: &TowerToHyperService<Router>,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
    ) -> StatusCode {
        let mut request = hyper::Request::builder().method(method).uri(path).extension(ConnectInfo(STRANGER));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        router.call(request.body(Body::empty()).unwrap()).await.unwrap().status()
    }

    #[tokio::test]
    async fn a_stranger_gets_an_answer_from_health_only() {
        let (one, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let keyless = open_to_strangers(one.path(), |_| {}).await;
        let locked = open_to_strangers(other.path(), |config| config.api_key = Some(Secret::new("key"))).await;
        let upgrade = [
            ("connection", "upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "eA=="),
        ];
        let pretenders: [&[(&str, &str)]; 6] = [
            &[],
            &upgrade,
            &[("authorization", "Bearer kex")],
            &[("authorization", "Basic a2V5")],
            &[("x-twilio-signature", "AAAA")],
            // Whoever may say where they come from says loopback.
            &[("x-forwarded-for", "127.0.0.1"), ("forwarded", "for=127.0.0.1"), ("host", "localhost")],
        ];
        let mut open = Vec::new();
        for route in routes() {
            let path = route.path.replace("{token}", "x").replace("{id}", "0192d3a0-0000-7000-8000-000000000001");
            assert!(!path.contains('{'), "say here what {path} may be");
            for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"] {
                for router in [&keyless, &locked] {
                    for headers in pretenders {
                        let status = ask(router, method, &path, headers).await;
                        let refused = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
                        assert_eq!(refused, route.guard != Guard::None, "{method} {path} {headers:?}: {status}");
                    }
                }
            }
            if route.guard == Guard::None {
                assert_eq!(ask(&keyless, "GET", &path, &[]).await, StatusCode::OK);
                assert_eq!(ask(&keyless, "DELETE", &path, &[]).await, StatusCode::METHOD_NOT_ALLOWED);
                open.push(route.path);
            }
        }
        assert_eq!(open, ["/healthz", "/readyz"]);
        for path in ["/", "/nothing", "/twilio", "/twilio/voice/", "/api/v1/calls/x/y", "//healthz", "/../healthz"] {
            assert_eq!(ask(&keyless, "GET", path, &[]).await, StatusCode::NOT_FOUND, "{path}");
        }
        // The same requests with what they want are let through, so that it was the guard that refused them.
        let key = [("authorization", "Bearer key")];
        let call = "/api/v1/calls/0192d3a0-0000-7000-8000-000000000001";
        assert_eq!(ask(&locked, "GET", call, &key).await, StatusCode::NOT_FOUND);
        assert_eq!(ask(&locked, "DELETE", call, &key).await, StatusCode::METHOD_NOT_ALLOWED);
    }
}
