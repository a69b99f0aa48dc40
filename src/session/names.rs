//! What a client has given names to, statements or portals, and the one that has none.

use std::collections::HashMap;

/// A map by name. Most clients use the unnamed portal, and many the unnamed statement, for everything: what has no name is
/// found without hashing one, several times for each query.
#[derive(Debug)]
pub(super) struct Names<T> {
    unnamed: Option<T>,
    named: HashMap<String, T>,
}

impl<T> Default for Names<T> {
    fn default() -> Self {
        Self {
            unnamed: None,
            named: HashMap::new(),
        }
    }
}

impl<T> Names<T> {
    pub(super) fn get(&self, name: &str) -> Option<&T> {
        match name {
            "" => self.unnamed.as_ref(),
            name => self.named.get(name),
        }
    }

    pub(super) fn get_mut(&mut self, name: &str) -> Option<&mut T> {
        match name {
            "" => self.unnamed.as_mut(),
            name => self.named.get_mut(name),
        }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// What had the name before.
    pub(super) fn insert(&mut self, name: String, value: T) -> Option<T> {
        match name.as_str() {
            "" => self.unnamed.replace(value),
            _ => self.named.insert(name, value),
        }
    }

    pub(super) fn remove(&mut self, name: &str) -> Option<T> {
        match name {
            "" => self.unnamed.take(),
            name => self.named.remove(name),
        }
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&T) -> bool) {
        self.unnamed.take_if(|value| !keep(value));
        self.named.retain(|_, value| keep(value));
    }

    pub(super) fn clear(&mut self) {
        self.unnamed = None;
        self.named.clear();
    }

    /// Takes all of them out.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (String, T)> {
        let unnamed = self.unnamed.take().map(|value| (String::new(), value));
        unnamed.into_iter().chain(self.named.drain())
    }

    pub(super) fn len(&self) -> usize {
        self.named.len() + usize::from(self.unnamed.is_some())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        let unnamed = self.unnamed.iter().map(|value| ("", value));
        unnamed.chain(
            self.named
                .iter()
                .map(|(name, value)| (name.as_str(), value)),
        )
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::Names;

    #[test]
    fn what_has_no_name_is_one_of_them() {
        let mut names = Names::default();
        for name in ["", "a", "b"] {
            assert_eq!(names.insert(name.to_owned(), 1), None);
            assert_eq!(names.insert(name.to_owned(), 2), Some(1));
            assert!(names.contains(name));
        }
        assert_eq!(names.len(), 3);
        for (name, value) in [("", 3), ("a", 4)] {
            *names.get_mut(name).unwrap() = value;
            assert_eq!(names.get(name), Some(&value));
        }
        let mut all: Vec<_> = names.iter().map(|(n, v)| (n.to_owned(), *v)).collect();
        all.sort();
        let expected = [("", 3), ("a", 4), ("b", 2)].map(|(n, v)| (n.to_owned(), v));
        assert_eq!(all, expected);
        names.retain(|value| *value != 3);
        assert_eq!((names.get(""), names.len()), (None, 2));
        assert_eq!(names.remove("a"), Some(4));
        names.insert(String::new(), 5);
        let mut all: Vec<_> = names.drain().collect();
        all.sort();
        assert_eq!(all, [(String::new(), 5), ("b".to_owned(), 2)]);
        assert_eq!(names.len(), 0);
        names.insert(String::new(), 6);
        names.clear();
        assert_eq!(names.values().next(), None);
    }
}
