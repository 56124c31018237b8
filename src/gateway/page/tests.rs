//! The page as it is served, without a browser.

use actix_web::App;
use actix_web::http::StatusCode;
use actix_web::test::{TestRequest, call_service, init_service, read_body};

use super::*;

async fn fetch(path: &str, tag: Option<&str>) -> (StatusCode, Vec<(String, String)>, String) {
    let app = init_service(App::new().configure(routes)).await;
    let mut request = TestRequest::get().uri(path);
    if let Some(tag) = tag {
        request = request.insert_header(("if-none-match", tag));
    }
    let response = call_service(&app, request.to_request()).await;
    let (status, headers) = (response.status(), response.headers().clone());
    let text = |value: &HeaderValue| value.to_str().expect("letters").to_owned();
    let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    (status, headers, String::from_utf8(read_body(response).await.to_vec()).expect("text"))
}

fn header_of(headers: &[(String, String)], name: &str) -> String {
    headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone()).unwrap_or_default()
}

#[actix_web::test]
async fn every_file_comes_with_its_type_its_tag_and_the_strict_policy() {
    for asset in files::all() {
        let (status, headers, body) = fetch(&format!("/assets/{}", asset.name), None).await;
        assert_eq!((status, body.as_bytes()), (StatusCode::OK, asset.bytes), "{}", asset.name);
        let policy = header_of(&headers, "content-security-policy");
        assert!(policy.starts_with("default-src 'self'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(header_of(&headers, "x-content-type-options"), "nosniff");
        assert_eq!(header_of(&headers, "content-type"), asset.media);
        let tag = header_of(&headers, "etag");
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let (status, _, body) = fetch(&format!("/assets/{}", asset.name), Some(&known)).await;
            assert_eq!((status, body.as_str()), (StatusCode::NOT_MODIFIED, ""), "{} with {known}", asset.name);
        }
        let (status, ..) = fetch(&format!("/assets/{}", asset.name), Some("\"other\"")).await;
        assert_eq!(status, StatusCode::OK);
    }
}

#[actix_web::test]
async fn the_document_names_only_files_that_are_there_and_nothing_inline() {
    let (status, headers, body) = fetch("/", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(header_of(&headers, "content-type"), "text/html; charset=utf-8");
    let mut named = 0;
    for part in body.split("assets/").skip(1) {
        let name = part.split('"').next().unwrap_or_default();
        assert!(files::named(name).is_some(), "the document names {name}");
        named += 1;
    }
    assert!(named >= 5, "scripts and styles: {named}");
    for asset in files::all().iter().filter(|asset| !asset.name.starts_with("vendor/")) {
        let text = std::str::from_utf8(asset.bytes).expect("text");
        for line in text.lines().filter(|_| asset.name.ends_with(".html")) {
            let inline = line.contains(" style=") || line.contains(" onclick=") || line.contains("<style");
            assert!(!inline && (!line.contains("<script") || line.contains("src=")), "{}: {line}", asset.name);
        }
        // A module that another one imports must be in the table.
        for part in text.split("from './").skip(1).filter(|_| asset.name.ends_with(".js")) {
            let name = part.split('\'').next().unwrap_or_default();
            assert!(files::named(name).is_some(), "{} imports {name}", asset.name);
        }
    }
}

#[test]
fn markup_from_elsewhere_enters_the_page_in_one_place_only() {
    let uses = |word: &str| -> Vec<(&str, usize)> {
        let own = files::all().iter().filter(|asset| asset.name.ends_with(".js") && !asset.name.starts_with("vendor/"));
        let count = own.map(|asset| (asset.name, String::from_utf8_lossy(asset.bytes).matches(word).count()));
        count.filter(|(_, count)| *count > 0).collect()
    };
    assert_eq!(uses(".innerHTML"), vec![("dom.js", 1)], "all else is text");
    for word in ["outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"] {
        assert_eq!(uses(word), vec![], "{word}");
    }
}

#[actix_web::test]
async fn a_name_that_is_not_in_the_table_is_not_there() {
    for path in ["/assets/", "/assets/none.js", "/assets/../mod.rs", "/assets/%2e%2e/%2e%2e/etc/passwd", "/assets/a//b"]
    {
        let (status, _, body) = fetch(path, None).await;
        assert!(status == StatusCode::NOT_FOUND, "{path}: {status} {body}");
        assert!(!body.contains("root:"), "{path}");
    }
}
