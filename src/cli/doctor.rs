//! `understudy doctor`: what was found, and what to do about what was not.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tch::Cuda;
use understudy_checkpoints::checkpoint::hex;
use understudy_checkpoints::{Disk, QuarantineBounds, QuarantineFiles};

use super::{Failure, Global, Outcome};
use crate::config::Config;
use crate::resources;

/// Flags of `doctor`.
#[derive(Debug, Args)]
#[command(after_help = "Exit code 0 when everything that serve needs is there, else 3.")]
pub struct Flags {}

#[derive(Debug, Serialize)]
struct Finding {
    what: &'static str,
    ok: bool,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

/// Runs `understudy doctor`.
pub(super) fn run(global: &Global, _flags: Flags) -> Outcome {
    let config = global.load()?.config;
    // The first use of libtorch loads it; the findings read where it lies.
    let cuda = crate::cuda::has_driver() && crate::cuda::load().is_ok() && Cuda::is_available();
    let findings = [
        libtorch(),
        devices(&config, cuda),
        threads(&config),
        model(&config),
        data(&config),
        quarantine(&config),
        disk(&config),
    ];
    let bad: Vec<&Finding> = findings.iter().filter(|finding| !finding.ok).collect();
    if global.json {
        println!("{}", serde_json::json!({"ok": bad.is_empty(), "findings": findings}));
    } else {
        for finding in &findings {
            println!("{} {:<10} {}", if finding.ok { "ok " } else { "BAD" }, finding.what, finding.found);
            if let Some(remedy) = &finding.remedy {
                println!("    {:<10} {remedy}", "");
            }
        }
    }
    match bad.first() {
        None => Ok(()),
        Some(first) => Err(Failure::NotReady(format!(
            "{}: {}; {}",
            first.what,
            first.found,
            first.remedy.as_deref().unwrap_or("see above")
        ))),
    }
}

fn libtorch() -> Finding {
    match resources::libtorch() {
        Some((path, version)) => {
            let version = version.unwrap_or_else(|| "of unknown version".to_owned());
            Finding { what: "libtorch", ok: true, found: format!("{version} at {path}"), remedy: None }
        }
        None => Finding {
            what: "libtorch",
            ok: true,
            found: "loaded, but this system does not tell from where".to_owned(),
            remedy: None,
        },
    }
}

fn devices(config: &Config, cuda: bool) -> Finding {
    let machine = resources::machine();
    let gpus = if cuda { Cuda::device_count() } else { 0 };
    let memory = machine.memory_bytes as f64 / f64::from(1 << 30);
    let found = format!("{} ({} cores, {memory:.0} GiB), {gpus} GPUs", machine.processor, machine.cores);
    let wrong = crate::speaker::device(config.model.device).err().map(|failure| failure.to_string());
    Finding { what: "devices", ok: wrong.is_none(), found, remedy: wrong }
}

fn threads(config: &Config) -> Finding {
    let (wanted, cores) = (config.threads.intra_op, resources::machine().cores);
    let many = wanted as usize > cores;
    Finding {
        what: "threads",
        ok: true,
        found: format!("{wanted} to one operation, {cores} cores"),
        remedy: many.then(|| "threads.intra_op is above the number of cores, which is slower".to_owned()),
    }
}

fn model(config: &Config) -> Finding {
    let path = &config.model.path;
    let fail =
        |found: String, remedy: &str| Finding { what: "model", ok: false, found, remedy: Some(remedy.to_owned()) };
    if !path.exists() {
        return fail(format!("'{}' is not there", path.display()), "run scripts/setup.sh, or set model.path");
    }
    let digest = if path.is_file() { digest(path).unwrap_or_default() } else { "a folder".to_owned() };
    match understudy_model::load(path) {
        Err(error) => fail(error.to_string(), "name a Hugging Face folder or a GGUF file that is whole"),
        Ok(loaded) => {
            let (family, layers) = (loaded.config.family, loaded.config.num_layers);
            let parameters = crate::speaker::parameter_count(&loaded);
            let found = format!(
                "{} ({family:?}, {layers} layers, {:.1} M parameters, sha256 {digest})",
                path.display(),
                parameters as f64 / 1e6
            );
            let fits = config.model.trainable_layers <= layers;
            let remedy = (!fits).then(|| format!("lower model.trainable_layers to at most {layers}"));
            Finding { what: "model", ok: fits, found, remedy }
        }
    }
}

/// The first 12 hexadecimal digits of a file's SHA-256.
fn digest(path: &Path) -> std::io::Result<String> {
    let mut hasher = Sha256::new();
    let mut file = File::open(path)?;
    let mut piece = vec![0; 1 << 16];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            read => hasher.update(&piece[..read]),
        }
    }
    Ok(hex(&hasher.finalize()[..6]))
}

fn data(config: &Config) -> Finding {
    let dir = &config.data.dir;
    let finding = |ok, found: String, remedy: Option<&str>| Finding {
        what: "data",
        ok,
        found,
        remedy: remedy.map(str::to_owned),
    };
    if !dir.exists() {
        return finding(true, format!("'{}' is not there yet; the first start makes it", dir.display()), None);
    }
    let Ok(lock) = File::open(dir.join("LOCK")) else {
        return finding(true, format!("'{}' has no lock yet", dir.display()), None);
    };
    // Taking the lock and letting go of it at once tells whether a daemon holds it.
    match lock.try_lock_shared() {
        Ok(()) => finding(true, format!("'{}' is free", dir.display()), None),
        Err(_) => {
            let remedy = "that is right while it runs; stop it before another start";
            finding(true, format!("'{}' is held by a running daemon", dir.display()), Some(remedy))
        }
    }
}

/// What actors died of. It is told and no fault of this start.
fn quarantine(config: &Config) -> Finding {
    let dir = config.data.dir.join("quarantine");
    let files = QuarantineFiles::new(&dir, Disk::real(), QuarantineBounds::default());
    let finding = |found, remedy| Finding { what: "quarantine", ok: true, found, remedy };
    match (files.list(), files.lost()) {
        (Ok(files), Ok(lost)) => match files.last() {
            None => finding("nothing".to_owned(), None),
            Some(newest) => finding(
                format!("{} failures, {} messages not taken up any more", files.len(), lost.len()),
                Some(format!("the newest is '{}'; report what caused it", newest.path.display())),
            ),
        },
        (Err(error), _) | (_, Err(error)) => finding(error.to_string(), None),
    }
}

fn disk(config: &Config) -> Finding {
    // The nearest folder that exists is on the same disk as what will be made in it.
    let dir = &config.data.dir;
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.clone());
    let existing = absolute.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    match understudy_checkpoints::free_bytes(existing) {
        Ok(bytes) => {
            let enough = bytes >= 2 << 30;
            let remedy = (!enough)
                .then(|| "a checkpoint of the default model takes 0.5 GB; free 2 GiB or set data.dir".to_owned());
            Finding {
                what: "disk",
                ok: enough,
                found: format!("{:.1} GiB free for '{}'", bytes as f64 / f64::from(1 << 30), dir.display()),
                remedy,
            }
        }
        Err(error) => Finding {
            what: "disk",
            ok: false,
            found: error.to_string(),
            remedy: Some("set data.dir to a readable place".to_owned()),
        },
    }
}
