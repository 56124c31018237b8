//! Tokens that let somebody in: made and revoked on the command line, read by the daemon.
//!
//! Invariant: a secret is shown once and never stored; the file holds its SHA-256. A slow password hash would buy
//! nothing: the secret is 256 random bits, so there is no dictionary to try, and each request would pay for it.
//! The file is replaced as a whole, with mode 0600, so that a reader never sees half of it.

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use understudy_checkpoints::checkpoint::{hex, sha256_hex};
use understudy_checkpoints::whole::replace_private_file;

/// Most tokens at a time: each is compared with at every request.
const MOST: usize = 256;
/// What every secret begins with, so that one that leaked is recognised.
const PREFIX: &str = "ust-";

/// What a token lets somebody do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// Ask questions.
    Ask,
    /// Rate answers, and draw tasks to rate.
    Rate,
    /// Everything.
    Admin,
}

impl Scope {
    /// Its word in the file and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Rate => "rate",
            Self::Admin => "admin",
        }
    }
}

/// One token, without its secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// Names it in logs and for `revoke`.
    pub id: String,
    /// For whom it is; may be empty.
    pub name: String,
    /// What it lets them do.
    pub scopes: Vec<Scope>,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// From when on it is void; never when left out.
    pub expires_ms: Option<i64>,
    /// SHA-256 of the secret, 64 hexadecimal digits.
    sha256: String,
}

impl Token {
    /// Whether it lets somebody do what `scope` says.
    pub fn may(&self, scope: Scope) -> bool {
        self.scopes.contains(&scope) || self.scopes.contains(&Scope::Admin)
    }

    /// Whether it is void at `now_ms`.
    pub fn expired(&self, now_ms: i64) -> bool {
        self.expires_ms.is_some_and(|end| now_ms >= end)
    }
}

/// Why the tokens could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The disk said no.
    #[error("cannot {what} '{path}' ({error})")]
    Io {
        /// What was tried.
        what: &'static str,
        /// With which file.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
    /// The file is not what was written there.
    #[error("'{path}' cannot be read as tokens ({error}); restore it, or remove it and create new tokens")]
    Broken {
        /// Which file.
        path: String,
        /// What is wrong with it.
        error: String,
    },
    /// The request itself is wrong.
    #[error("{0}")]
    Refused(String),
}

/// All tokens of a data directory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    version: u32,
    /// In the order in which they were made.
    pub tokens: Vec<Token>,
}

impl Tokens {
    /// Where those of a data directory lie.
    pub fn file(dir: &Path) -> PathBuf {
        dir.join("tokens.json")
    }

    /// Reads those of `dir`; none where there is no file.
    pub fn read(dir: &Path) -> Result<Self, TokenError> {
        let path = Self::file(dir);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(io("read", &path)(error)),
        };
        let broken = |error: String| TokenError::Broken { path: path.display().to_string(), error };
        let tokens: Self = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        match tokens.version {
            1 => Ok(tokens),
            other => Err(broken(format!("it has version {other}, this program knows 1"))),
        }
    }

    /// Changes those of `dir`; of two who do so at once, one waits for the other.
    pub fn change<T>(dir: &Path, change: impl FnOnce(&mut Self) -> Result<T, TokenError>) -> Result<T, TokenError> {
        fs::create_dir_all(dir).map_err(io("make", dir))?;
        let lock_path = dir.join("tokens.lock");
        let lock = File::create(&lock_path).map_err(io("open", &lock_path))?;
        lock.lock().map_err(io("lock", &lock_path))?;
        let mut tokens = Self::read(dir)?;
        let done = change(&mut tokens)?;
        tokens.version = 1;
        tokens.write(dir)?;
        Ok(done)
    }

    fn write(&self, dir: &Path) -> Result<(), TokenError> {
        let path = Self::file(dir);
        let text = serde_json::to_vec_pretty(self).expect("names and numbers are always JSON");
        replace_private_file(&path, &text).map_err(io("write", &path))
    }

    /// Adds one with `random` as its secret; the secret in the form that clients send.
    pub fn create(
        &mut self,
        random: [u8; 32],
        name: &str,
        scopes: &[Scope],
        now_ms: i64,
        expires_ms: Option<i64>,
    ) -> Result<(Token, String), TokenError> {
        if self.tokens.len() >= MOST {
            let message = format!("there are {MOST} tokens already; revoke one that is not needed");
            return Err(TokenError::Refused(message));
        }
        if name.chars().count() > 100 || name.chars().any(char::is_control) {
            let message = "the name is too long or not plain text; give at most 100 printable characters".to_owned();
            return Err(TokenError::Refused(message));
        }
        let secret = format!("{PREFIX}{}", hex(&random));
        let digest = sha256_hex(secret.as_bytes());
        let mut scopes = scopes.to_vec();
        scopes.sort();
        scopes.dedup();
        let id = format!("t{}", &digest[..8]);
        let token = Token { id, name: name.to_owned(), scopes, created_ms: now_ms, expires_ms, sha256: digest };
        self.tokens.push(token.clone());
        Ok((token, secret))
    }

    /// Removes one by its id; whether it was there.
    pub fn revoke(&mut self, id: &str) -> bool {
        let before = self.tokens.len();
        self.tokens.retain(|token| token.id != id);
        self.tokens.len() < before
    }

    /// Whose secret it is. Every token is compared with to its end, so that the time taken tells nothing.
    pub fn find(&self, secret: &str) -> Option<&Token> {
        let digest = sha256_hex(secret.as_bytes());
        self.tokens.iter().fold(None, |found, token| {
            match bool::from(token.sha256.as_bytes().ct_eq(digest.as_bytes())) {
                true => Some(token),
                false => found,
            }
        })
    }
}

/// 256 bits from the system's own source.
pub fn random() -> Result<[u8; 32], TokenError> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0; 32];
    File::open(path).and_then(|mut file| file.read_exact(&mut bytes)).map_err(io("read", path))?;
    Ok(bytes)
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> TokenError {
    let path = path.display().to_string();
    move |error| TokenError::Io { what, path, error }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn made(dir: &Path, byte: u8) -> (Token, String) {
        Tokens::change(dir, |tokens| tokens.create([byte; 32], "ana", &[Scope::Rate], 1000, Some(2000))).unwrap()
    }

    #[test]
    fn a_token_is_found_by_its_secret_which_the_file_does_not_hold_and_nobody_else_may_read() {
        let dir = tempfile::tempdir().unwrap();
        let (token, secret) = made(dir.path(), 7);
        let file = Tokens::file(dir.path());
        let text = fs::read_to_string(&file).unwrap();
        assert!(!text.contains(&secret) && !text.contains(&"07".repeat(32)), "{text}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let tokens = Tokens::read(dir.path()).unwrap();
        assert_eq!(tokens.find(&secret), Some(&token));
        assert_eq!(tokens.find(&format!("{secret}0")), None);
        assert_eq!(tokens.find(""), None);
        assert!(token.may(Scope::Rate) && !token.may(Scope::Ask) && !token.may(Scope::Admin));
        assert!(!token.expired(1999) && token.expired(2000));
    }

    #[test]
    fn a_revoked_token_is_gone_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let ((first, secret), (_, other)) = (made(dir.path(), 1), made(dir.path(), 2));
        let revoke = |id: &str| Tokens::change(dir.path(), |tokens| Ok(tokens.revoke(id))).unwrap();
        assert!(revoke(&first.id) && !revoke(&first.id));
        let tokens = Tokens::read(dir.path()).unwrap();
        assert!(tokens.find(&secret).is_none() && tokens.find(&other).is_some());
    }

    #[test]
    fn tokens_made_at_once_are_all_there() {
        let dir = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for byte in 0..8 {
                let dir = dir.path();
                scope.spawn(move || made(dir, byte));
            }
        });
        assert_eq!(Tokens::read(dir.path()).unwrap().tokens.len(), 8);
    }

    #[test]
    fn a_broken_file_a_newer_one_and_too_many_tokens_are_refused_in_a_sentence() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(Tokens::file(dir.path()), "{").unwrap();
        assert!(matches!(Tokens::read(dir.path()), Err(TokenError::Broken { .. })));
        fs::write(Tokens::file(dir.path()), r#"{"version": 2, "tokens": []}"#).unwrap();
        let newer = Tokens::read(dir.path()).unwrap_err().to_string();
        assert!(newer.contains("it has version 2, this program knows 1"), "{newer}");
        let mut tokens = Tokens::default();
        for n in 0..MOST {
            tokens.create([n as u8; 32], "", &[Scope::Ask], 0, None).unwrap();
        }
        let error = tokens.create([0; 32], "", &[Scope::Ask], 0, None).unwrap_err().to_string();
        assert_eq!(error, "there are 256 tokens already; revoke one that is not needed");
    }
}
