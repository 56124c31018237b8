//! A browser that is driven over WebDriver: Debian's Chromium without a screen.
//!
//! Invariant: each browser has a profile and a driver of its own, both gone with it; keys and clicks go the way that a
//! person's go, through the browser's input.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::crash::pause;
use crate::program::PATIENCE;

/// Demands the browser: a machine without one fails instead of skipping.
const DEMAND: &str = "UNDERSTUDY_BROWSER";
/// Where the driver is looked for.
const DRIVER: &str = "chromedriver";
/// How the browser is started: no screen, no GPU, and as any user.
const FLAGS: [&str; 6] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--window-size=1200,900",
    "--force-prefers-reduced-motion",
];
/// The key that names an element in WebDriver's replies.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Keys that have no letter, as WebDriver names them.
pub(crate) const ENTER: &str = "\u{e007}";
pub(crate) const UP: &str = "\u{e013}";
pub(crate) const DOWN: &str = "\u{e015}";

/// An open browser.
pub(crate) struct Browser {
    driver: Child,
    address: String,
    session: String,
}

impl Browser {
    /// Opens one; `None`, and a sentence, where there is none.
    pub(crate) fn open() -> Option<Self> {
        let started = Command::new(DRIVER).args(["--port=0", "--log-level=SEVERE"]).stdout(Stdio::piped()).spawn();
        let mut driver = match started {
            Ok(driver) => driver,
            Err(error) => {
                let said = format!("{DRIVER} does not start ({error}); install chromium and chromium-driver");
                assert!(std::env::var_os(DEMAND).is_none_or(|value| value != "1"), "{DEMAND}=1, but {said}");
                println!("skipped: {said}, or set {DEMAND}=1 to demand it");
                return None;
            }
        };
        let mut lines = BufReader::new(driver.stdout.take().expect("piped")).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("started successfully on port")).expect("the driver says its port");
        let port = line.trim_end_matches('.').rsplit(' ').next().expect("a port").to_owned();
        // The driver must not wait for a full pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let mut browser = Self { driver, address: format!("127.0.0.1:{port}"), session: String::new() };
        let chrome = json!({"goog:chromeOptions": {"args": FLAGS}, "goog:loggingPrefs": {"browser": "ALL"}});
        let session = browser.call("POST", "/session", &json!({"capabilities": {"alwaysMatch": chrome}}));
        let id = session["sessionId"].as_str().unwrap_or_else(|| panic!("no browser: {session}")).to_owned();
        browser.session = format!("/session/{id}");
        Some(browser)
    }

    /// One command; a refusal of the driver fails the test with its words.
    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("{}{path}", self.session), body)
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, reply) = exchange(&self.address, method, path, body).expect("the driver answers");
        assert_eq!(status, 200, "{method} {path} {body}: {}", reply["value"]["message"]);
        reply["value"].clone()
    }

    /// Goes to an address.
    pub(crate) fn go(&self, address: &str) {
        self.command("POST", "/url", &json!({"url": address}));
    }

    /// Loads the page anew.
    pub(crate) fn reload(&self) {
        self.command("POST", "/refresh", &json!({}));
    }

    /// Runs a script's body and gives what it returns.
    pub(crate) fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.command("POST", "/execute/sync", &json!({"script": script, "args": arguments}))
    }

    /// Runs a script that calls its last argument when it is done.
    pub(crate) fn run_async(&self, script: &str) -> Value {
        self.command("POST", "/execute/async", &json!({"script": script, "args": []}))
    }

    /// Whether an expression of JavaScript holds now.
    pub(crate) fn holds(&self, expression: &str) -> bool {
        self.run(&format!("return Boolean({expression})"), &[]) == true
    }

    /// Waits until an expression holds.
    pub(crate) fn until(&self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.holds(expression) {
            if Instant::now() >= end {
                let seen = self.run("return document.body.innerText", &[]);
                panic!(
                    "not so within {} s: {expression}\nthe page shows: {seen}\n{:?}",
                    PATIENCE.as_secs(),
                    self.log()
                );
            }
            pause(Duration::from_millis(25));
        }
    }

    /// The text of the first element of this selector.
    pub(crate) fn text(&self, selector: &str) -> String {
        let script = "return document.querySelector(arguments[0])?.textContent ?? ''";
        self.run(script, &[json!(selector)]).as_str().unwrap_or_default().to_owned()
    }

    /// Clicks the middle of an element with the mouse.
    pub(crate) fn click(&self, selector: &str) {
        let found = self.command("POST", "/element", &json!({"using": "css selector", "value": selector}));
        let id = found[ELEMENT].as_str().expect("an element").to_owned();
        self.command("POST", &format!("/element/{id}/click"), &json!({}));
    }

    /// Presses keys, one after the other, whatever has the focus.
    pub(crate) fn keys(&self, keys: &str) {
        let press = |key: char| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})];
        let actions: Vec<Value> = keys.chars().flat_map(press).collect();
        self.command("POST", "/actions", &json!({"actions": [{"type": "key", "id": "keys", "actions": actions}]}));
    }

    /// Drags with the mouse from the middle of one element to a point in the window, in a few moves.
    pub(crate) fn drag(&self, selector: &str, to: (i64, i64)) {
        let script = "const box = document.querySelector(arguments[0]).getBoundingClientRect();\
            return [Math.round(box.x + box.width / 2), Math.round(box.y + box.height / 2)]";
        let from = self.run(script, &[json!(selector)]);
        let (x, y) = (from[0].as_i64().expect("x"), from[1].as_i64().expect("y"));
        let mut actions =
            vec![json!({"type": "pointerMove", "x": x, "y": y}), json!({"type": "pointerDown", "button": 0})];
        for step in 1..=8 {
            let (x, y) = (x + (to.0 - x) * step / 8, y + (to.1 - y) * step / 8);
            actions.push(json!({"type": "pointerMove", "x": x, "y": y, "duration": 10}));
        }
        actions.push(json!({"type": "pointerUp", "button": 0}));
        let mouse =
            json!({"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions});
        self.command("POST", "/actions", &json!({"actions": [mouse]}));
    }

    /// A window as large as a desktop's or a phone's, in CSS pixels.
    pub(crate) fn size(&self, width: u32, height: u32) {
        let metrics = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500});
        self.tools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    /// What the system prefers.
    pub(crate) fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": value}]});
        self.tools("Emulation.setEmulatedMedia", &features);
    }

    /// Cuts the browser off from the network, or lets it back.
    pub(crate) fn offline(&self, offline: bool) {
        self.tools("Network.enable", &json!({}));
        let conditions = json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        self.tools("Network.emulateNetworkConditions", &conditions);
    }

    /// What is seen, as PNG.
    pub(crate) fn picture(&self) -> Vec<u8> {
        let reply = self.tools("Page.captureScreenshot", &json!({"format": "png"}));
        base64(reply["data"].as_str().expect("a picture"))
    }

    /// Errors that the console showed since the last look.
    pub(crate) fn log(&self) -> Vec<String> {
        let entries = self.command("POST", "/se/log", &json!({"type": "browser"}));
        let severe = |entry: &&Value| entry["level"] == "SEVERE";
        entries.as_array().into_iter().flatten().filter(severe).map(|entry| entry["message"].to_string()).collect()
    }

    fn tools(&self, command: &str, params: &Value) -> Value {
        self.command("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": params}))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; its driver is our child.
        let _ = exchange(&self.address, "DELETE", &self.session, &Value::Null);
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

/// One request of HTTP with a JSON reply, on a connection of its own.
pub(crate) fn exchange(address: &str, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
    let stream = TcpStream::connect(address).ok()?;
    stream.set_read_timeout(Some(PATIENCE)).ok()?;
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let head = format!("{head}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n");
    (&stream).write_all((head + &body).as_bytes()).ok()?;
    let mut reader = BufReader::new(&stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let status = line.split(' ').nth(1)?.parse().ok()?;
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line).ok()?;
        match line.trim_end().split_once(':') {
            Some((name, value)) if name.eq_ignore_ascii_case("content-length") => length = value.trim().parse().ok()?,
            Some(_) => {}
            None => break,
        }
    }
    let mut bytes = vec![0; length];
    reader.read_exact(&mut bytes).ok()?;
    Some((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

/// RFC 4648, section 4.
fn base64(text: &str) -> Vec<u8> {
    let value = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let letters: Vec<u8> = text.bytes().filter(|letter| *letter != b'=').collect();
    let bytes = letters.chunks(4).flat_map(|four| {
        let bits = four.iter().fold(0u32, |bits, letter| bits << 6 | u32::from(value(*letter)));
        let bits = bits << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    });
    bytes.collect()
}

#[test]
fn browser_pictures_are_read_as_they_were_written() {
    for (text, bytes) in [("", ""), ("Zg==", "f"), ("Zm8=", "fo"), ("Zm9v", "foo"), ("Zm9vYmE=", "fooba"), ("/+A=", "")]
    {
        let wanted = if text == "/+A=" { vec![0xff, 0xe0] } else { bytes.as_bytes().to_vec() };
        assert_eq!(base64(text), wanted, "{text}");
    }
}
