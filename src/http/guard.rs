//! Around every request: does it name this listener, how long may it take, its id, and the headers every
//! answer carries.

use super::{Peer, Problem};
use crate::audit::RequestId;
use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The host names a listener answers to, lower case and without port. A page whose name was made to resolve to
/// this address (DNS rebinding) sends its own.
#[derive(Debug, Clone, Default)]
pub struct Hosts {
    names: BTreeSet<String>,
    /// It listens on every address: the one a connection came to is its own, by number. A page's name never is that.
    every: bool,
}

impl Hosts {
    /// The address listened on, by number (and `localhost`, if it is this machine's own), and `names`.
    pub fn new(listen: SocketAddr, names: &[String]) -> Self {
        let mut hosts: BTreeSet<String> = names.iter().map(|n| n.to_ascii_lowercase()).collect();
        let ip = listen.ip();
        if ip.is_loopback() {
            hosts.insert("localhost".to_owned());
        }
        if !ip.is_unspecified() {
            hosts.insert(by_number(ip));
        }
        Self {
            names: hosts,
            every: ip.is_unspecified(),
        }
    }

    /// Whether a request names one of them: by exactly one Host header, and in its target if that names one.
    fn named_by(&self, request: &Request) -> bool {
        let mut named = request.headers().get_all(header::HOST).iter();
        let (Some(host), None) = (named.next(), named.next()) else {
            return false;
        };
        let host = host.to_str().unwrap_or_default();
        let target = request.uri().authority().map(|target| target.as_str());
        let peer = request.extensions().get::<Peer>();
        let own = peer.and_then(|peer| peer.local).filter(|_| self.every);
        let holds = |authority: &str| self.holds(authority, own);
        holds(host) && target.is_none_or(holds)
    }

    fn holds(&self, authority: &str, own: Option<IpAddr>) -> bool {
        let digits = |port: &str| !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
        let name = match authority.rsplit_once(':') {
            Some((name, port)) if digits(port) => name,
            _ => authority,
        };
        let name = name.to_ascii_lowercase();
        own.is_some_and(|own| by_number(own) == name) || self.names.contains(&name)
    }
}

/// An address as a URL has it, without a port.
fn by_number(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

/// What holds for every request of a listener.
pub(super) struct Guard {
    pub(super) hosts: Hosts,
    pub(super) request_max: Duration,
    pub(super) tls: bool,
}

/// The routes with the guard around them; what is not a route is a problem too.
pub(super) fn around(routes: Router, guard: Arc<Guard>) -> Router {
    routes
        .fallback(async || Problem::new(StatusCode::NOT_FOUND))
        .method_not_allowed_fallback(async || Problem::new(StatusCode::METHOD_NOT_ALLOWED))
        .layer(from_fn_with_state(guard, guarded))
}

async fn guarded(State(guard): State<Arc<Guard>>, mut request: Request, next: Next) -> Response {
    let request_id = RequestId::next();
    request.extensions_mut().insert(request_id);
    let mut response = if guard.hosts.named_by(&request) {
        let answer = tokio::time::timeout(guard.request_max, next.run(request));
        match answer.await {
            Ok(response) => response,
            Err(_) => Problem::new(StatusCode::REQUEST_TIMEOUT).into_response(),
        }
    } else {
        Problem::new(StatusCode::MISDIRECTED_REQUEST)
            .detail("this listener does not answer to that host name")
            .into_response()
    };
    let problem = response.extensions_mut().remove::<Problem>().or_else(|| {
        // What the library answers by itself: a path that is not UTF-8, a header it cannot read.
        let status = response.status();
        (status.is_client_error() || status.is_server_error()).then(|| Problem::new(status))
    });
    if let Some(problem) = problem {
        let allow = response.headers_mut().remove(header::ALLOW);
        response = problem.render(request_id);
        if let Some(allow) = allow {
            response.headers_mut().insert(header::ALLOW, allow);
        }
    }
    finish(&mut response, request_id, guard.tls);
    response
}

fn finish(response: &mut Response, request_id: RequestId, tls: bool) {
    const EVERY: &[(HeaderName, &str)] = &[
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
    ];
    let headers = response.headers_mut();
    for (name, value) in EVERY {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if tls {
        let year = HeaderValue::from_static("max-age=31536000");
        headers.insert(header::STRICT_TRANSPORT_SECURITY, year);
    }
    if let Ok(id) = HeaderValue::from_str(&request_id.to_string()) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}

#[cfg(test)]
mod tests {
    use super::{Hosts, Peer};
    use axum::body::Body;
    use axum::extract::Request;

    fn hosts(listen: &str, names: &[&str]) -> Hosts {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        Hosts::new(listen.parse().unwrap(), &names)
    }

    #[test]
    fn only_the_listeners_own_names_are_answered() {
        let local = hosts("127.0.0.1:6433", &["Gate.Example.com"]);
        for host in [
            "127.0.0.1",
            "127.0.0.1:6433",
            "127.0.0.1:80",
            "localhost:6433",
            "LOCALHOST",
            "gate.example.com",
            "gate.example.com:443",
        ] {
            assert!(local.holds(host, None), "{host}");
        }
        for host in [
            "",
            "evil.example.com",
            "127.0.0.1.evil.example.com",
            "gate.example.com.evil.org",
            "gate.example.com@evil.org",
            "localhost:",
            "localhost:80:80",
            "localhost:8a",
            "[::1]:6433",
            "127.0.0.2",
        ] {
            assert!(!local.holds(host, None), "{host}");
        }
        assert!(hosts("[::1]:6433", &[]).holds("[::1]:6433", None));
        assert!(
            !hosts("0.0.0.0:6433", &[]).holds("0.0.0.0:6433", None),
            "any address is nobody's name"
        );
        assert!(
            !hosts("192.0.2.1:6433", &[]).holds("localhost", None),
            "not this machine's own address"
        );
    }

    #[test]
    fn on_every_address_the_one_a_connection_came_to_is_its_own() {
        let named = |listen: &str, local: &str, host: &str| {
            let peer = Peer {
                address: "192.0.2.9:40000".parse().unwrap(),
                local: Some(local.parse().unwrap()),
                tls: true,
            };
            let request = Request::builder().header("host", host).extension(peer);
            let request = request.body(Body::empty()).unwrap();
            hosts(listen, &["gate.example.com"]).named_by(&request)
        };
        let every = "0.0.0.0:6433";
        assert!(named(every, "192.0.2.1", "192.0.2.1:6433"));
        assert!(named(every, "192.0.2.1", "gate.example.com"));
        assert!(named("[::]:6433", "::ffff:192.0.2.1", "192.0.2.1"));
        assert!(named("[::]:6433", "2001:db8::1", "[2001:db8::1]:6433"));
        for host in [
            "192.0.2.2",
            "evil.example.com",
            "192.0.2.1.nip.io",
            "0.0.0.0",
            "localhost",
        ] {
            assert!(!named(every, "192.0.2.1", host), "{host}");
        }
        assert!(
            !named("192.0.2.3:6433", "192.0.2.1", "192.0.2.1"),
            "one address only"
        );
    }

    #[test]
    fn one_host_header_and_the_target_have_to_agree() {
        let local = hosts("127.0.0.1:6433", &[]);
        let request = |target: &str, headers: &[&str]| {
            let mut request = Request::builder().uri(target);
            for host in headers {
                request = request.header("host", *host);
            }
            local.named_by(&request.body(Body::empty()).unwrap())
        };
        assert!(request("/healthz", &["localhost"]));
        assert!(request("http://localhost/healthz", &["localhost"]));
        assert!(!request("/healthz", &[]));
        assert!(!request("/healthz", &["localhost", "localhost"]));
        assert!(!request("http://evil.org/healthz", &["localhost"]));
        assert!(!request("http://localhost/healthz", &["evil.org"]));
    }
}
