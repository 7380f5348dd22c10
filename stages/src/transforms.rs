//! The list of enrichments. Adding one: a file here, a `mod` line, a line in `all`.

mod http;
mod lookup;
mod metadata;
mod set;

use crate::catalog::Catalog;

pub(crate) fn all(catalog: Catalog) -> Catalog {
    catalog
        .enrich::<http::Http>()
        .enrich::<lookup::Lookup>()
        .enrich::<metadata::Metadata>()
        .enrich::<set::Set>()
}
