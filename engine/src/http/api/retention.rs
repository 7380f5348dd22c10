//! What retention will do: to one event, and at the next sweep.

use super::{Answer, failed, json_text, problem};
use crate::http::app::App;
use crate::http::query;
use store::{Reader, RetentionView, StoreFault};
use tide::Request;

/// What the next sweep deletes.
pub(super) async fn forecast(request: Request<App>) -> Answer {
    let app = request.state();
    let clock = app.engine.env.clock.clone();
    let look =
        move |reader: &Reader<'_>, view: &RetentionView<'_>| reader.forecast_sweep(view, &clock);
    match looked(app, look).await {
        Ok(forecast) => Ok(json_text(forecast.to_json().to_string())),
        Err(fault) => Ok(failed(&fault)),
    }
}

/// Why an event is still there.
pub(super) async fn explain(request: Request<App>) -> Answer {
    let app = request.state();
    let id = request.param("id").unwrap_or_default();
    let id = query::decoded(id).unwrap_or_else(|| id.to_owned());
    let source = query::value(request.url().query().unwrap_or_default(), "source");
    let clock = app.engine.env.clock.clone();
    let look = move |reader: &Reader<'_>, view: &RetentionView<'_>| {
        reader.explain_retention(view, &clock, &id, source.as_deref())
    };
    match looked(app, look).await {
        Ok(Some(kept)) => Ok(json_text(kept.to_json().to_string())),
        Ok(None) => Ok(problem(404, "no event with this id is stored")),
        Err(fault) => Ok(failed(&fault)),
    }
}

/// Looks at the store with the rules that are in force now.
async fn looked<T: Send + 'static>(
    app: &App,
    look: impl FnOnce(&Reader<'_>, &RetentionView<'_>) -> Result<T, StoreFault> + Send + 'static,
) -> Result<T, StoreFault> {
    let store = &app.engine.store;
    let (in_force, name) = (store.rules_in_force(), store.name().clone());
    let now = app.engine.env.clock.wall();
    store
        .read(move |reader| look(reader, &RetentionView { in_force: &in_force, store: &name, now }))
        .await
}
