//! Headers on every response.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::Response;

/// Own scripts and styles only, nothing inline, no frames, no forms elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const SECURE: [(HeaderName, &str); 4] = [
    (header::CONTENT_SECURITY_POLICY, POLICY),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
];

pub(crate) async fn secure(mut response: Response) -> Response {
    for (name, value) in SECURE {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}
