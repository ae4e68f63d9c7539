//! A project, and daemons that use it as their settings say.

use std::time::Duration;

use bus_client::{ClientBuilder, MessageBusClient, settings::Settings};
use bus_daemon::RunningDaemon;
use bus_testkit::{Project, Server};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;

use crate::support::{Setup, setup};

/// A project of its own and a way to talk to its daemons.
pub(crate) struct Site {
    pub(crate) project: Project,
    http: reqwest::Client,
}

impl Site {
    pub(crate) async fn on(server: Server) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(120))
            .build();
        Self {
            project: Project::take(server).await.unwrap(),
            http: http.unwrap(),
        }
    }

    /// What the three variables of the original select.
    pub(crate) fn client(&self) -> ClientBuilder {
        let settings = Settings::from_lookup(|name| match name {
            "MESSAGE_BUS_ENABLED" => Some("true".to_owned()),
            "SUPABASE_URL" => Some(self.project.url().to_owned()),
            "SUPABASE_KEY" => Some(self.project.secret_key().to_owned()),
            _ => None,
        });
        MessageBusClient::builder().settings(settings.unwrap())
    }

    /// A daemon that is being put together.
    pub(crate) fn daemon(&self) -> Setup {
        setup().client(self.client().build())
    }

    /// A request to a daemon.
    pub(crate) fn http(
        &self,
        daemon: &RunningDaemon,
        method: Method,
        path: &str,
    ) -> RequestBuilder {
        let url = format!("http://{}{path}", daemon.local_addr());
        self.http.request(method, url)
    }

    pub(crate) fn get(&self, daemon: &RunningDaemon, path: &str) -> RequestBuilder {
        self.http(daemon, Method::GET, path)
    }

    /// Publishes `body` as `txn` and expects that it is new; the record.
    pub(crate) async fn put(
        &self,
        daemon: &RunningDaemon,
        txn: &str,
        body: impl Into<reqwest::Body>,
    ) -> Value {
        let path = format!("/v1/messages/{txn}");
        let request = self.http(daemon, Method::PUT, &path).body(body);
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 201);
        answer.json().await.unwrap()
    }

    /// How many rows of messages the project holds, whatever their status.
    pub(crate) async fn rows(&self) -> i64 {
        let database = self.project.connect().await.unwrap();
        let counted = database.query_one("select count(*) from public.message_bus", &[]);
        counted.await.unwrap().get(0)
    }
}
