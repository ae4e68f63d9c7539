//! Every path and method that is served, in one table: the router is built from it, the counters
//! take their labels from it, and the test of the OpenAPI document compares with it.

use std::sync::Arc;

use axum::{
    Router,
    handler::Handler,
    routing::{MethodFilter, MethodRouter},
};

use super::{health, messages, openapi, payload, socket};
use crate::state::AppState;

type State = Arc<AppState>;

/// A path and what answers there.
struct Route {
    path: &'static str,
    methods: Vec<&'static str>,
    router: MethodRouter<State>,
}

impl Route {
    fn at(path: &'static str) -> Self {
        Self {
            path,
            methods: Vec::new(),
            router: MethodRouter::new(),
        }
    }

    fn on<H, T>(mut self, method: &'static str, filter: MethodFilter, handler: H) -> Self
    where
        H: Handler<T, State>,
        T: 'static,
    {
        self.methods.push(method);
        self.router = self.router.on(filter, handler);
        self
    }

    /// `GET`, and `HEAD` with the same headers and no body.
    fn get<H, T>(self, handler: H) -> Self
    where
        H: Handler<T, State>,
        T: 'static,
    {
        let both = MethodFilter::GET.or(MethodFilter::HEAD);
        let mut route = self.on("GET", both, handler);
        route.methods.push("HEAD");
        route
    }

    /// `GET` of something that only upgrades.
    fn upgrade<H, T>(self, handler: H) -> Self
    where
        H: Handler<T, State>,
        T: 'static,
    {
        self.on("GET", MethodFilter::GET, handler)
    }

    fn post<H, T>(self, handler: H) -> Self
    where
        H: Handler<T, State>,
        T: 'static,
    {
        self.on("POST", MethodFilter::POST, handler)
    }

    fn put<H, T>(self, handler: H) -> Self
    where
        H: Handler<T, State>,
        T: 'static,
    {
        self.on("PUT", MethodFilter::PUT, handler)
    }

    fn delete<H, T>(self, handler: H) -> Self
    where
        H: Handler<T, State>,
        T: 'static,
    {
        self.on("DELETE", MethodFilter::DELETE, handler)
    }
}

const PATHS: [&str; 11] = [
    "/",
    "/ws",
    "/v1/messages",
    "/v1/messages/{txn}",
    "/v1/messages/{txn}/payload",
    "/v1/messages/{txn}/manifest",
    "/v1/messages/{txn}/ack",
    "/healthz",
    "/readyz",
    "/metrics",
    "/openapi.json",
];

fn table() -> [Route; PATHS.len()] {
    let [
        root,
        ws,
        all,
        one,
        payload,
        manifest,
        ack,
        healthz,
        readyz,
        metrics,
        description,
    ] = PATHS.map(Route::at);
    [
        root.get(socket::page_or_upgrade),
        ws.upgrade(socket::upgrade),
        all.get(messages::list).post(messages::create),
        one.get(messages::record)
            .put(messages::put)
            .delete(messages::delete),
        payload.get(payload::get),
        manifest.get(payload::manifest),
        ack.post(messages::acknowledge),
        healthz.get(health::healthz),
        readyz.get(health::readyz),
        metrics.get(health::metrics),
        description.get(openapi::openapi),
    ]
}

/// The router of the table, without layers.
pub(super) fn router() -> Router<State> {
    table().into_iter().fold(Router::new(), |router, route| {
        router.route(route.path, route.router)
    })
}

/// The label of a matched path; `other` for what matched nothing.
pub(super) fn label(matched: Option<&str>) -> &'static str {
    PATHS
        .into_iter()
        .find(|path| Some(*path) == matched)
        .unwrap_or("other")
}

/// `METHOD /path` of everything that is served.
#[cfg(test)]
pub(super) fn served() -> Vec<String> {
    table()
        .iter()
        .flat_map(|route| {
            route
                .methods
                .iter()
                .map(move |method| format!("{method} {}", route.path))
        })
        .collect()
}
