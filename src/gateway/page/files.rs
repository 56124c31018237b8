//! The page's files as they are built into the program.
//!
//! Invariant: the table is all there is; a file's tag changes when and only when its bytes do.

use std::sync::LazyLock;

use understudy_checkpoints::checkpoint::sha256_hex;

/// One file.
pub(super) struct Asset {
    /// Its path below `/assets/`.
    pub(super) name: &'static str,
    /// Its media type.
    pub(super) media: &'static str,
    /// Its content.
    pub(super) bytes: &'static [u8],
    /// Its entity tag, in quotes.
    pub(super) tag: String,
}

/// The document's name; it is served at `/`.
const DOCUMENT: &str = "index.html";

/// `(name, content)` of the files in this folder.
macro_rules! embedded {
    ($($name:literal),* $(,)?) => {
        [$(($name, include_bytes!(concat!("assets/", $name)).as_slice())),*]
    };
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let files = embedded![
        "index.html",
        "style.css",
        "views.css",
        "icon.svg",
        "theme.js",
        "app.js",
        "api.js",
        "dom.js",
        "draft.js",
        "keys.js",
        "person.js",
        "ratings.js",
        "grade.js",
        "ask.js",
        "rate.js",
        "why.js",
        "ranking.js",
        "watch.js",
        "charts.js",
        "browse.js",
        "system.js",
        "vendor/uplot/uPlot.iife.min.js",
        "vendor/uplot/uPlot.min.css",
        "vendor/uplot/LICENSE",
    ];
    files.into_iter().map(|(name, bytes)| Asset { name, media: media(name), bytes, tag: tag(bytes) }).collect()
});

/// The document.
pub(super) fn document() -> &'static Asset {
    named(DOCUMENT).expect("the table holds it")
}

/// The file of that name.
pub(super) fn named(name: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.name == name)
}

/// All files.
#[cfg(test)]
pub(super) fn all() -> &'static [Asset] {
    &ASSETS
}

fn media(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        _ => "text/plain; charset=utf-8",
    }
}

fn tag(bytes: &[u8]) -> String {
    format!("\"{}\"", &sha256_hex(bytes)[..24])
}
