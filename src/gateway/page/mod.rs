//! The page: one document and its files, all within the program.
//!
//! Invariant: nothing is read from disk and nothing is fetched from elsewhere, so it works offline; every reply carries a
//! policy under which no inline script, no inline style and no other origin is let in; a browser that has a file asks
//! only whether it is still the same.

mod files;

#[cfg(test)]
mod tests;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use super::ApiError;
use files::Asset;

/// What the page may do: load from here, talk to here, and be framed by nobody.
pub(crate) const POLICY: &str = "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self'; \
    connect-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Adds the page's routes: `/` and `/assets/…`.
pub(super) fn routes(app: &mut web::ServiceConfig) {
    app.service(web::resource("/").route(web::get().to(document)).route(web::head().to(document)))
        .service(web::resource("/assets/{file:.*}").route(web::get().to(asset)).route(web::head().to(asset)));
}

/// `GET /`: the document.
async fn document(request: HttpRequest) -> HttpResponse {
    reply(files::document(), &request)
}

/// `GET /assets/{file}`: one of its files; a name that is not in the table is 404, whatever it looks like.
async fn asset(request: HttpRequest, file: web::Path<String>) -> Result<HttpResponse, ApiError> {
    match files::named(&file) {
        Some(asset) => Ok(reply(asset, &request)),
        None => {
            let shown: String = file.chars().take(80).collect();
            let message = format!("the page has no file '{shown}'; open / in a browser");
            Err(ApiError::new(StatusCode::NOT_FOUND, "no_such_file", None, message))
        }
    }
}

/// The file, or 304 when the browser holds the same.
fn reply(asset: &Asset, request: &HttpRequest) -> HttpResponse {
    let known = request.headers().get(header::IF_NONE_MATCH).and_then(|tags| tags.to_str().ok());
    let same = known.is_some_and(|tags| tags.split(',').any(|tag| same_tag(tag, &asset.tag)));
    let mut response = match same {
        true => HttpResponse::NotModified(),
        false => HttpResponse::Ok(),
    };
    response
        .insert_header((header::ETAG, asset.tag.as_str()))
        // Kept, but asked about each time: another build of the program is seen at the next look.
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .insert_header((header::CONTENT_SECURITY_POLICY, POLICY))
        .insert_header((header::X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((header::X_FRAME_OPTIONS, "DENY"))
        .insert_header((header::REFERRER_POLICY, "no-referrer"))
        .insert_header(("cross-origin-opener-policy", "same-origin"));
    if same {
        return response.finish();
    }
    response.insert_header((header::CONTENT_TYPE, HeaderValue::from_static(asset.media))).body(asset.bytes)
}

/// RFC 9110, section 13.1.2: a weak comparison, so that a proxy's `W/` does not matter.
fn same_tag(given: &str, ours: &str) -> bool {
    let given = given.trim();
    given == "*" || given.strip_prefix("W/").unwrap_or(given) == ours
}
