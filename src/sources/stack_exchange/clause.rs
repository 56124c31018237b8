//! The clause of July 2024: Stack Exchange hands newer dumps out for uses that do not include training a language model.
//!
//! Invariant: what falls under it comes in only with the operator's word that other terms hold.

use super::date;

/// The first moment of July 2024, in milliseconds since the Unix epoch.
const FROM: i64 = 1_719_792_000_000;
/// The last moment before the network's first post (31 July 2008): what says to be older has no date, or one in other units.
const BEGAN: i64 = 1_217_462_399_999;
/// Hosts of the sites that are not below stackexchange.com.
const SITES: [&str; 6] =
    ["stackoverflow.com", "superuser.com", "serverfault.com", "askubuntu.com", "mathoverflow.net", "stackapps.com"];

/// Posts that the clause covers, or may cover, without the operator's word.
#[derive(Debug, thiserror::Error)]
#[error(
    "{posts}. Since July 2024 Stack Exchange hands its dumps out for uses that do not include the training of a language \
     model, and this program trains one. Nothing was brought in. Where the terms that you have the data under allow it \
     (your own site, a licence of your own), say so with {say}"
)]
pub struct Clause {
    /// Which.
    posts: String,
    /// The flag or setting that is the operator's word.
    say: &'static str,
}

/// Whether posts of Stack Exchange may come in, of which `newest` (milliseconds since the Unix epoch) is the newest;
/// `may_train` is the operator's word, given as `say`.
pub fn allowed(newest: i64, may_train: bool, say: &'static str) -> Result<(), Clause> {
    match newest >= FROM && !may_train {
        true => Err(Clause { posts: format!("the newest post is of {}", date::day(newest)), say }),
        false => Ok(()),
    }
}

/// The same of posts of any origin, each by its link and its moment: those that lead to Stack Exchange are asked for both.
pub fn allowed_all<'a>(
    posts: impl IntoIterator<Item = (Option<&'a str>, i64)>,
    may_train: bool,
    say: &'static str,
) -> Result<(), Clause> {
    let of_sites = posts.into_iter().filter(|(url, _)| url.is_some_and(is_of_stack_exchange));
    for (url, at) in of_sites {
        allowed(at, may_train, say)?;
        if at <= BEGAN && !may_train {
            let posts = format!("'{}' has no date (in milliseconds since 1970)", url.unwrap_or_default());
            return Err(Clause { posts, say });
        }
    }
    Ok(())
}

/// Whether an address is one of a site of Stack Exchange.
fn is_of_stack_exchange(url: &str) -> bool {
    let rest = url.split_once("//").map_or(url, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#', ':']).next().unwrap_or_default().to_ascii_lowercase();
    let below = |site: &str| host.strip_suffix(site).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    below("stackexchange.com") || SITES.into_iter().any(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clause_begins_with_july_and_the_operators_word_lifts_it() {
        assert!(allowed(FROM - 1, false, "x").is_ok() && allowed(FROM, true, "x").is_ok());
        let said = allowed(FROM, false, "--may-train").unwrap_err().to_string();
        assert!(
            said.contains("the newest post is of 2024-07-01") && said.ends_with("say so with --may-train"),
            "{said}"
        );
    }

    #[test]
    fn a_post_of_a_site_needs_a_date_and_one_of_elsewhere_nothing() {
        let one = |url, at| allowed_all([(None, FROM), (Some(url), at)], false, "x").map_err(|error| error.to_string());
        let site = "https://beer.stackexchange.com/a/1";
        assert!(one(site, FROM - 1).is_ok() && one("https://example.org/a/1", 0).is_ok());
        assert!(one(site, FROM).unwrap_err().contains("the newest post is of 2024-07-01"));
        // None, and one in seconds.
        for at in [0, FROM / 1000] {
            assert!(one(site, at).unwrap_err().contains("'https://beer.stackexchange.com/a/1' has no date"), "{at}");
        }
        assert!(allowed_all([(Some(site), 0)], true, "x").is_ok());
    }

    #[test]
    fn sites_are_known_by_their_host_alone() {
        for url in
            ["https://beer.stackexchange.com/a/1", "http://stackoverflow.com", "https://pt.stackoverflow.com/q/2?x"]
        {
            assert!(is_of_stack_exchange(url), "{url}");
        }
        for url in ["https://example.org/stackoverflow.com", "https://notstackoverflow.com/q/1", "", "https://s/1"] {
            assert!(!is_of_stack_exchange(url), "{url}");
        }
    }
}
