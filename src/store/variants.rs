//! The variants of one resource: which request fields tell them apart, and which there are.
//!
//! A resource that varies on a field with a value of its own for every client would fill the cache with answers that nobody
//! asks for twice. So there is a bound, and where it is reached, the field that splits the resource most is named. Invariant: no
//! more than the bound are listed, and what is listed is kept, or was a moment ago.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::{HeaderMap, HeaderName};

use crate::object::{Key, Whereabouts};
use crate::semantics::vary::{self, VaryOn};

/// All of one resource.
#[derive(Debug)]
pub struct Variants {
    vary: VaryOn,
    kept: Arc<Mutex<Vec<Variant>>>,
    whereabouts: Whereabouts,
}

#[derive(Debug)]
struct Variant {
    key: Key,
    /// A digest of the value of each field, in the order of `vary`.
    values: Vec<u64>,
    /// The one language that it is in.
    language: Option<String>,
}

/// A variant that had to go for another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evicted {
    /// Where it lies.
    pub key: Key,
    /// The field with the most different values.
    pub splits: HeaderName,
}

impl Variants {
    /// None yet of what varies on these.
    pub fn new(vary: VaryOn) -> Self {
        Self { vary, kept: Arc::default(), whereabouts: Whereabouts::default() }
    }

    /// The same list, to be kept anew.
    pub(super) fn again(&self) -> Self {
        Self { vary: self.vary.clone(), kept: Arc::clone(&self.kept), whereabouts: Whereabouts::default() }
    }

    /// What L1 writes on it.
    pub(super) fn whereabouts(&self) -> &Whereabouts {
        &self.whereabouts
    }

    /// The fields that tell them apart.
    pub fn vary(&self) -> &VaryOn {
        &self.vary
    }

    /// How many are listed.
    pub fn count(&self) -> usize {
        self.lock().len()
    }

    /// Where they lie.
    pub fn keys(&self) -> Vec<Key> {
        self.lock().iter().map(|variant| variant.key).collect()
    }

    /// Lists the variant that is about to be kept. One that is over makes room for it, or else the one that has been listed
    /// longest: nobody can keep others out with values that nobody sends twice.
    pub fn admit(
        &self,
        key: Key,
        request: &HeaderMap,
        answer: &HeaderMap,
        variants_max: usize,
        is_over: impl Fn(&Key) -> bool,
    ) -> Option<Evicted> {
        let variant = Variant { key, values: self.values(request), language: vary::only_language(answer) };
        let mut kept = self.lock();
        kept.retain(|each| each.key != key);
        let evicted = (kept.len() >= variants_max && !kept.is_empty()).then(|| {
            let splits = self.splitting(&kept);
            let place = kept.iter().position(|each| is_over(&each.key)).unwrap_or(0);
            Evicted { key: kept.remove(place).key, splits }
        });
        kept.push(variant);
        evicted
    }

    /// The variants in the language that this request likes best, whatever else it would take, if all other fields have the
    /// same values; the latest first, for RFC 9111, 4.1 has the most recent one used. An upstream that has an answer in that language would choose it: RFC 9110, 12.5.4: "Accept-Language […]
    /// to indicate the set of natural languages that are preferred in the response", in the order of their weights.
    pub fn in_best_language(&self, request: &HeaderMap) -> Vec<Key> {
        if !self.vary.on_language() {
            return Vec::new();
        }
        let Some(best) = vary::preferred_language(request) else {
            return Vec::new();
        };
        let values = self.values(request);
        let language_at = self.vary.names().iter().position(|name| *name == http::header::ACCEPT_LANGUAGE);
        let same_but_language = |variant: &&Variant| {
            let mut pairs = variant.values.iter().zip(&values).enumerate();
            pairs.all(|(at, (one, other))| Some(at) == language_at || one == other)
        };
        let kept = self.lock();
        let in_it = |variant: &&Variant| variant.language.as_ref() == Some(&best);
        let latest_first = kept.iter().rev();
        latest_first.filter(in_it).filter(same_but_language).map(|variant| variant.key).collect()
    }

    /// The field that splits this resource most, if anything does.
    pub fn splits(&self) -> Option<HeaderName> {
        let kept = self.lock();
        (kept.len() > 1).then(|| self.splitting(&kept))
    }

    fn splitting(&self, kept: &[Variant]) -> HeaderName {
        let different = |at: usize| kept.iter().map(|each| each.values.get(at)).collect::<HashSet<_>>().len();
        let names = self.vary.names();
        let most = (0..names.len()).max_by_key(|at| different(*at)).and_then(|at| names.get(at));
        most.cloned().unwrap_or(http::header::VARY)
    }

    fn values(&self, request: &HeaderMap) -> Vec<u64> {
        let digest = |value: Option<std::borrow::Cow<'_, [u8]>>| {
            let mut hasher = DefaultHasher::new();
            value.hash(&mut hasher);
            hasher.finish()
        };
        self.vary.select(request).map(|(_, value)| digest(value)).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Variant>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsRef<Whereabouts> for Variants {
    fn as_ref(&self) -> &Whereabouts {
        &self.whereabouts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::{KeyBuilder, KeySecret, Part};
    use crate::semantics::example::headers;

    fn key(number: u64) -> Key {
        let mut builder = KeyBuilder::new();
        builder.part(Part::Path, &number.to_be_bytes());
        builder.finish(&KeySecret::new(None, &[0; 32]))
    }

    fn variants(vary: &str) -> Variants {
        Variants::new(VaryOn::read(&headers(&[("vary", vary)])).unwrap())
    }

    #[test]
    fn at_the_bound_what_is_over_makes_room_or_else_the_oldest_and_the_splitting_field_is_named() {
        let variants = variants("accept, user-agent");
        let admit = |number: u64, is_kept: &dyn Fn(&Key) -> bool| {
            let agent = number.to_string();
            let request = headers(&[("accept", "*/*"), ("user-agent", &agent)]);
            variants.admit(key(number), &request, &HeaderMap::new(), 3, is_kept)
        };
        for number in 0..3 {
            assert_eq!(admit(number, &|_| false), None);
        }
        assert_eq!(admit(2, &|_| false), None, "it is listed already");
        let splits = HeaderName::from_static("user-agent");
        assert_eq!(admit(3, &|_| false), Some(Evicted { key: key(0), splits: splits.clone() }));
        let evicted = admit(4, &|each| *each == key(2)).unwrap();
        assert_eq!(evicted.key, key(2));
        assert_eq!(variants.count(), 3);
        assert_eq!(variants.splits(), Some(splits));
    }

    #[test]
    fn the_language_liked_best_finds_its_variant_where_all_else_is_the_same() {
        let variants = variants("accept-language, accept");
        let german = headers(&[("content-language", "de")]);
        let request = headers(&[("accept-language", "en, de"), ("accept", "text/html")]);
        assert_eq!(variants.admit(key(1), &request, &german, 9, |_| false), None);
        let find = |fields: &[(&str, &str)]| variants.in_best_language(&headers(fields));
        let html = ("accept", "text/html");
        assert_eq!(find(&[("accept-language", "fr;q=0.5, DE"), html]), [key(1)]);
        for other in [
            &[("accept-language", "fr, de;q=0.5"), html][..],
            &[("accept-language", "fr, de"), html],
            &[("accept-language", "de"), ("accept", "text/plain")],
            &[("accept-language", "*"), html],
            &[html],
        ] {
            assert_eq!(find(other), [], "{other:?}");
        }
        let request = headers(&[("accept-language", "de, en;q=0.5"), ("accept", "text/html")]);
        assert_eq!(variants.admit(key(2), &request, &german, 9, |_| false), None);
        assert_eq!(find(&[("accept-language", "de"), html]), [key(2), key(1)]);
    }
}
