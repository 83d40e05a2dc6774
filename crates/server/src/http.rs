//! The HTTP port: metrics, health, and where an offset's record is.

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde::Deserialize;
use tokio::net::TcpListener;

use crate::health::Health;
use crate::metrics::Metrics;
use crate::whereabouts::Whereabouts;

/// What the port answers from.
pub(crate) struct Sources {
    pub(crate) health: Health,
    pub(crate) metrics: Metrics,
    /// There once the broker has recovered.
    pub(crate) whereabouts: std::sync::OnceLock<Whereabouts>,
}

/// Serves `sources` on `port` until the runtime ends.
pub(crate) fn start(port: std::net::TcpListener, sources: Arc<Sources>) -> Result<()> {
    let listener = TcpListener::from_std(port).context("take over the HTTP port")?;
    let address = listener.local_addr().context("ask for the HTTP port")?;
    let router = Router::new()
        .route("/metrics", get(metrics))
        .route("/health/live", get(|| async { "live\n" }))
        .route("/health/ready", get(ready))
        .route("/inspect/where", get(where_is))
        .with_state(sources);
    runtime::spawn("http", async move {
        if let Err(error) = axum::serve(listener, router).await {
            tracing::error!("the HTTP port {address} stopped: {error}");
        }
    });
    Ok(())
}

async fn metrics(State(sources): State<Arc<Sources>>) -> Response {
    match sources.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error:#}\n")).into_response(),
    }
}

async fn ready(State(sources): State<Arc<Sources>>) -> Response {
    match sources.health.ready() {
        Ok(ready) => ready.into_response(),
        Err(obstacles) => (StatusCode::SERVICE_UNAVAILABLE, obstacles).into_response(),
    }
}

#[derive(Deserialize)]
struct WhereQuery {
    topic: String,
    partition: i32,
    offset: i64,
}

async fn where_is(State(sources): State<Arc<Sources>>, Query(query): Query<WhereQuery>) -> Response {
    let Some(whereabouts) = sources.whereabouts.get() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "the broker is still recovering\n").into_response();
    };
    match whereabouts.find(&query.topic, query.partition, query.offset).await {
        Ok(found) => ([(header::CONTENT_TYPE, "application/json")], found.to_string()).into_response(),
        Err(why) => (StatusCode::NOT_FOUND, format!("{why}\n")).into_response(),
    }
}
