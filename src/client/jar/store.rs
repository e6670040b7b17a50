//! The cookies themselves: kept by site, bounded, found for a URL.
//!
//! ```text
//!   example.com ─► [ sid · lang · … ]      at most 180, looked through for each request
//!   bbc.co.uk   ─► [ … ]                   at most 3,000 altogether: what was used longest ago goes
//! ```

use std::cmp::Reverse;
use std::collections::BTreeMap;

use crate::client::jar::StoredCookie;
use crate::client::jar::rules;
use crate::client::jar::rules::Place;
use crate::http::cookie::Cookie;
use crate::limits::COOKIE_AGE_MAX;
use crate::limits::COOKIE_ATTRIBUTE_BYTES_MAX;
use crate::limits::JAR_COOKIES_MAX;
use crate::limits::JAR_COOKIES_PER_SITE_MAX;

/// All cookies of a jar. Times are seconds since 1970, and come from the caller.
#[derive(Default)]
pub(super) struct Store {
    sites: BTreeMap<Box<str>, Vec<Held>>,
    count: usize,
    /// Counts what is done, for the order of creation and of use.
    moment: u64,
}

struct Held {
    cookie: StoredCookie,
    created: u64,
    used: u64,
}

/// A cookie that was received, with what decides whether it is taken.
pub(super) struct Arrival {
    cookie: StoredCookie,
    is_trusted: bool,
    is_expired: bool,
}

impl Arrival {
    /// What a response from `place` sets, by the rules that need no other cookies (RFC 6265bis §5.7);
    /// `None` when it is ignored.
    pub(super) fn of(place: &Place<'_>, line: &[u8], now: u64) -> Option<Arrival> {
        let (name, value, received) = Cookie::received(line)?;
        if received.secure && !place.is_trusted {
            return None;
        }
        if !keeps_promises(name, &received) {
            return None;
        }
        let (domain, is_host_only) = place.domain(received.domain.as_deref())?;
        let path = match received.path {
            Some(path) => path,
            None => place.default_path().to_owned(),
        };
        if path.len() > COOKIE_ATTRIBUTE_BYTES_MAX {
            return None;
        }
        let latest = now.saturating_add(COOKIE_AGE_MAX.as_secs());
        let expires = match (received.max_age, received.expires) {
            (Some(age), _) => Some(now.saturating_add(age.as_secs())),
            (None, at) => at,
        };
        Some(Arrival {
            is_expired: expires.is_some_and(|at| at <= now),
            is_trusted: place.is_trusted,
            cookie: StoredCookie {
                name: name.to_vec(),
                value: value.to_vec(),
                domain,
                is_host_only,
                path,
                expires: expires.map(|at| at.min(latest)),
                is_secure: received.secure,
                is_http_only: received.http_only,
            },
        })
    }

    /// A cookie that the user has from elsewhere, and vouches for.
    pub(super) fn vouched(cookie: StoredCookie, now: u64) -> Arrival {
        Arrival {
            is_expired: cookie.is_expired(now),
            is_trusted: true,
            cookie,
        }
    }
}

/// What the prefix of a name promises (RFC 6265bis §4.1.3), in any case.
fn keeps_promises(name: &[u8], cookie: &Cookie) -> bool {
    let begins = |prefix: &str| {
        let own = name.get(..prefix.len());
        own.is_some_and(|own| own.eq_ignore_ascii_case(prefix.as_bytes()))
    };
    if begins("__Host-") {
        return cookie.secure && cookie.domain.is_none() && cookie.path.as_deref() == Some("/");
    }
    cookie.secure || !begins("__Secure-")
}

impl Store {
    /// Takes a cookie: it replaces the one of the same name, domain and path, or removes it if its
    /// time is over.
    pub(super) fn take(&mut self, arrival: Arrival, now: u64) {
        let Arrival {
            cookie,
            is_trusted,
            is_expired,
        } = arrival;
        let is_address = rules::is_address(&cookie.domain);
        let site = rules::site_of(&cookie.domain, is_address);
        self.drop_expired_of(site, now);
        let Some(held) = self.sites.get_mut(site) else {
            if !is_expired {
                self.add(Box::from(site), cookie, now);
            }
            return;
        };
        if !is_trusted && held.iter().any(|held| hides(&held.cookie, &cookie)) {
            return;
        }
        let same = held.iter().position(|held| held.cookie.is_same(&cookie));
        match (same, is_expired) {
            (None, true) => {}
            (Some(at), true) => {
                held.remove(at);
                self.count -= 1;
                if held.is_empty() {
                    self.sites.remove(site);
                }
            }
            (Some(at), false) => {
                self.moment += 1;
                // The creation counts from the first time on (§5.7, step 23.3).
                held[at].cookie = cookie;
                held[at].used = self.moment;
            }
            (None, false) => self.add(Box::from(site), cookie, now),
        }
    }

    fn add(&mut self, site: Box<str>, cookie: StoredCookie, now: u64) {
        self.moment += 1;
        let held = self.sites.entry(site).or_default();
        held.push(Held {
            cookie,
            created: self.moment,
            used: self.moment,
        });
        self.count += 1;
        if held.len() > JAR_COOKIES_PER_SITE_MAX {
            make_room(held);
            self.count -= 1;
        }
        if self.count > JAR_COOKIES_MAX {
            self.drop_expired(now);
        }
        if self.count > JAR_COOKIES_MAX {
            self.drop_oldest();
        }
    }

    /// Drops one cookie of all: that which was used longest ago.
    fn drop_oldest(&mut self) {
        let oldest_of = |held: &Vec<Held>| held.iter().map(Held::age).min();
        let sites = self.sites.iter();
        let oldest = sites
            .filter_map(|(site, held)| Some((oldest_of(held)?, site)))
            .min();
        let Some((age, site)) = oldest else {
            return;
        };
        let site = site.clone();
        let held = self.sites.get_mut(&site).expect("found just now");
        held.retain(|held| held.age() != age);
        if held.is_empty() {
            self.sites.remove(&site);
        }
        self.count -= 1;
    }

    /// Names and values for a request, in the order in which they are sent (§5.8.3): the longest
    /// path first, then the oldest.
    pub(super) fn find(&mut self, place: &Place<'_>, now: u64) -> Option<Vec<u8>> {
        self.drop_expired_of(place.site(), now);
        let held = self.sites.get_mut(place.site())?;
        self.moment += 1;
        let mut found: Vec<&Held> = Vec::new();
        for held in held {
            if held.cookie.is_for(place) {
                held.used = self.moment;
                found.push(held);
            }
        }
        found.sort_by_key(|held| (Reverse(held.cookie.path.len()), held.created));
        let mut line = Vec::new();
        for held in found {
            if !line.is_empty() {
                line.extend_from_slice(b"; ");
            }
            line.extend_from_slice(&held.cookie.name);
            line.push(b'=');
            line.extend_from_slice(&held.cookie.value);
        }
        (!line.is_empty()).then_some(line)
    }

    /// All cookies whose time is not over, in the order in which they were created.
    pub(super) fn all(&self, now: u64) -> Vec<StoredCookie> {
        let held = self.sites.values().flatten();
        let mut all: Vec<&Held> = held.filter(|held| !held.cookie.is_expired(now)).collect();
        all.sort_by_key(|held| held.created);
        all.into_iter().map(|held| held.cookie.clone()).collect()
    }

    /// How many there are, with those whose time is over and which nobody has asked for since.
    pub(super) fn len(&self) -> usize {
        self.count
    }

    fn drop_expired_of(&mut self, site: &str, now: u64) {
        let Some(held) = self.sites.get_mut(site) else {
            return;
        };
        let before = held.len();
        held.retain(|held| !held.cookie.is_expired(now));
        self.count -= before - held.len();
        if held.is_empty() {
            self.sites.remove(site);
        }
    }

    fn drop_expired(&mut self, now: u64) {
        for held in self.sites.values_mut() {
            held.retain(|held| !held.cookie.is_expired(now));
        }
        self.sites.retain(|_, held| !held.is_empty());
        self.count = self.sites.values().map(Vec::len).sum();
    }
}

impl Held {
    /// What is smaller goes first.
    fn age(&self) -> (u64, u64) {
        (self.used, self.created)
    }
}

/// Drops one cookie of a site that has too many: one that is not `Secure`, so that nobody on the way
/// can push out the others (§5.7, step 24), else one of all; that which was used longest ago.
fn make_room(held: &mut Vec<Held>) {
    let rank = |held: &Held| (held.cookie.is_secure, held.age());
    let oldest = held.iter().map(rank).min();
    held.retain(|held| Some(rank(held)) != oldest);
}

/// True when a cookie that came without TLS may not be set, since it would hide or remove one that
/// is for TLS alone (§5.7, step 16).
fn hides(held: &StoredCookie, new: &StoredCookie) -> bool {
    held.is_secure
        && held.name == new.name
        && (rules::domain_matches(&held.domain, &new.domain)
            || rules::domain_matches(&new.domain, &held.domain))
        && rules::path_matches(&new.path, &held.path)
}
