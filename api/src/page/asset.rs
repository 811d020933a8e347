//! The style sheet, the script and the icon, held in the binary.

use axum::http::HeaderName;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::IntoResponse;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const ICON: &str = include_str!("icon.svg");

/// Changes with the assets, so that browsers may keep them for good and still see a new version at once.
pub(crate) fn version() -> u32 {
    // FNV-1a (Fowler, Noll, Vo), at compile time.
    const fn hash(text: &str, mut hash: u32) -> u32 {
        let bytes = text.as_bytes();
        let mut i = 0;
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u32).wrapping_mul(16_777_619);
            i += 1;
        }
        hash
    }
    const VERSION: u32 = hash(ICON, hash(SCRIPT, hash(STYLE, 2_166_136_261)));
    VERSION
}

/// `GET /page.css`
pub(crate) async fn style() -> impl IntoResponse {
    (headers("text/css; charset=utf-8"), STYLE)
}

/// `GET /page.js`
pub(crate) async fn script() -> impl IntoResponse {
    (headers("text/javascript; charset=utf-8"), SCRIPT)
}

/// `GET /favicon.svg`
pub(crate) async fn icon() -> impl IntoResponse {
    (headers("image/svg+xml"), ICON)
}

fn headers(content_type: &'static str) -> [(HeaderName, &'static str); 2] {
    [
        (CONTENT_TYPE, content_type),
        (CACHE_CONTROL, "public, max-age=31536000, immutable"),
    ]
}
