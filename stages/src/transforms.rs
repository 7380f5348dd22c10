//! The list of enrichments. Adding one: a file here, a `mod` line, a line in `all`.

mod baseline;
mod exec;
mod http;
mod lookup;
mod metadata;
mod previous;
mod set;

use crate::catalog::Catalog;
use language::expr::Roots;
use language::{Arg, NodeRow, Prop, ValueKind};
use std::time::Duration;

const AGE: ValueKind =
    ValueKind::Duration(Duration::from_millis(10), Duration::from_secs(30 * 86_400));

/// For kinds whose answers may be kept; the engine keeps them.
const CACHE: &[NodeRow] = &[NodeRow::new("cache", "reuses responses while they are fresh")
    .examples(&[r#"cache "10m""#, r#"cache "10m" key="data.zip" stale-if-error="1d" max=500"#])
    .args(&[Arg::one("duration", AGE)])
    .props(&[
        Prop::new("key", ValueKind::Expr(Roots::EVENT)),
        Prop::new("stale-if-error", AGE),
        Prop::new("max", ValueKind::Int(1, 1_000_000)).default("1000"),
    ])
    .otherwise("off; the key is the request")];

pub(crate) fn all(catalog: Catalog) -> Catalog {
    catalog
        .enrich::<baseline::Baseline>()
        .enrich::<exec::ExecEnricher>()
        .enrich::<http::HttpEnricher>()
        .enrich::<lookup::Lookup>()
        .enrich::<metadata::Metadata>()
        .enrich::<previous::Previous>()
        .enrich::<set::Set>()
}
