//! From rules to edges.

use super::{EDGES_MAX, Member, Namespaces, Pair, Relation, Subject};
use std::collections::BTreeSet;

/// Who holds `held` on an object (or is the user: `relation` empty) holds `gives` on each object of
/// `through.namespace` that has a tuple `#through.relation@that object#subject_relation`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Edge {
    /// What is held; the user's namespace and an empty relation for the user.
    pub held: Pair,
    /// `subject_relation` of the tuple.
    pub subject_relation: String,
    /// Namespace and relation of the tuple.
    pub tuple: Pair,
    /// The relation it gives on the tuple's object.
    pub gives: String,
}

impl Edge {
    fn given(&self) -> Pair {
        Pair::new(&self.tuple.namespace, &self.gives)
    }
}

impl Namespaces {
    /// The edges that can lead to `target`, sorted; `None` when there are more than [`EDGES_MAX`].
    pub fn edges(&self, target: &Pair) -> Option<Vec<Edge>> {
        let mut useful = BTreeSet::from([target.clone()]);
        let mut found = BTreeSet::new();
        let all = self.all_edges();
        // Each round but the last adds a pair, and there are no more pairs than declared ones.
        loop {
            let before = found.len();
            for edge in all.iter().filter(|edge| useful.contains(&edge.given())) {
                found.insert(edge.clone());
            }
            useful.extend(found.iter().map(|edge: &Edge| edge.held.clone()));
            if found.len() == before {
                break;
            }
        }
        (found.len() <= EDGES_MAX).then(|| found.into_iter().collect())
    }

    fn all_edges(&self) -> BTreeSet<Edge> {
        let mut edges = BTreeSet::new();
        for pair in self.pairs() {
            let Some(relation) = self.relation(&pair) else {
                continue;
            };
            let gives = self.implied_by(&pair);
            for subject in self.subjects(relation) {
                let (held, subject_relation) = match subject {
                    Subject::User => (Pair::new(&self.user, ""), String::new()),
                    Subject::Set(set) => (set.clone(), set.relation),
                    // An object as such holds nothing; it only leads on, below.
                    Subject::Object(_) => continue,
                };
                add(&mut edges, &held, &subject_relation, &pair, &gives);
            }
            for member in &relation.union {
                if let Member::Through { relation, held } = member {
                    let way = Pair::new(&pair.namespace, relation);
                    for namespace in self.objects_at(&way) {
                        let held = Pair::new(namespace, held);
                        if self.has(&held) {
                            add(&mut edges, &held, "", &way, &gives);
                        }
                    }
                }
            }
        }
        edges
    }

    /// The relations that hold on the same object where `pair` does, itself included.
    fn implied_by(&self, pair: &Pair) -> BTreeSet<String> {
        let mut implied = BTreeSet::from([pair.relation.clone()]);
        let Some(relations) = self.relations.get(&pair.namespace) else {
            return implied;
        };
        loop {
            let more: Vec<&String> = relations
                .iter()
                .filter(|(name, _)| !implied.contains(*name))
                .filter(|(_, relation)| {
                    let mut same = relation.union.iter().filter_map(|member| match member {
                        Member::Same(name) => Some(name),
                        Member::Through { .. } => None,
                    });
                    same.any(|name| implied.contains(name))
                })
                .map(|(name, _)| name)
                .collect();
            if more.is_empty() {
                return implied;
            }
            implied.extend(more.into_iter().cloned());
        }
    }

    fn subjects(&self, relation: &Relation) -> Vec<Subject> {
        relation.subjects.clone().unwrap_or_else(|| {
            let sets = self.pairs().map(Subject::Set);
            std::iter::once(Subject::User).chain(sets).collect()
        })
    }

    /// The namespaces of objects that may stand as `way`.
    fn objects_at(&self, way: &Pair) -> Vec<String> {
        let subjects = self.relation(way).and_then(|way| way.subjects.as_ref());
        match subjects {
            None => self.relations.keys().cloned().collect(),
            Some(subjects) => subjects
                .iter()
                .filter_map(|subject| match subject {
                    Subject::Object(namespace) => Some(namespace.clone()),
                    Subject::Set(_) | Subject::User => None,
                })
                .collect(),
        }
    }
}

fn add(
    edges: &mut BTreeSet<Edge>,
    held: &Pair,
    subject_relation: &str,
    tuple: &Pair,
    gives: &BTreeSet<String>,
) {
    for gives in gives {
        edges.insert(Edge {
            held: held.clone(),
            subject_relation: subject_relation.to_owned(),
            tuple: tuple.clone(),
            gives: gives.clone(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(union: &[&str], subjects: Option<&[&str]>) -> Relation {
        let union = union.iter().map(|member| match member.split_once('.') {
            Some((relation, held)) => Member::Through {
                relation: relation.to_owned(),
                held: held.to_owned(),
            },
            None => Member::Same((*member).to_owned()),
        });
        let subject = |subject: &&str| match subject.split_once('#') {
            Some((namespace, relation)) => Subject::Set(Pair::new(namespace, relation)),
            None if *subject == "user" => Subject::User,
            None => Subject::Object((*subject).to_owned()),
        };
        Relation {
            union: union.collect(),
            subjects: subjects.map(|list| list.iter().map(subject).collect()),
        }
    }

    /// A namespace, a relation, its union, its subjects.
    type Rule<'a> = (&'a str, &'a str, &'a [&'a str], Option<&'a [&'a str]>);

    fn namespaces(rules: &[Rule<'_>]) -> Namespaces {
        let mut namespaces = Namespaces {
            user: "user".to_owned(),
            ..Namespaces::default()
        };
        for (namespace, name, union, subjects) in rules {
            let relations = namespaces.relations.entry((*namespace).to_owned());
            relations
                .or_default()
                .insert((*name).to_owned(), relation(union, *subjects));
        }
        namespaces
    }

    /// `held -subject_relation-> tuple = gives`.
    fn shown(namespaces: &Namespaces, namespace: &str, relation: &str) -> Vec<String> {
        let edges = namespaces.edges(&Pair::new(namespace, relation)).unwrap();
        edges
            .iter()
            .map(|e| {
                format!(
                    "{} -{}-> {} = {}",
                    e.held, e.subject_relation, e.tuple, e.gives
                )
            })
            .collect()
    }

    #[test]
    fn rules_become_edges_and_only_those_that_lead_there() {
        let users = Some(&["user", "group#member"][..]);
        let rules = namespaces(&[
            ("group", "member", &[], Some(&["user", "group#member"])),
            ("folder", "viewer", &[], users),
            ("document", "parent", &[], Some(&["folder"])),
            ("document", "owner", &[], Some(&["user"])),
            ("document", "editor", &["owner"], Some(&["user"])),
            ("document", "viewer", &["editor", "parent.viewer"], users),
            ("deal", "viewer", &[], users),
        ]);
        assert_eq!(
            shown(&rules, "document", "viewer"),
            [
                "folder#viewer --> document#parent = viewer",
                "group#member -member-> document#viewer = viewer",
                "group#member -member-> folder#viewer = viewer",
                "group#member -member-> group#member = member",
                "user# --> document#editor = viewer",
                "user# --> document#owner = viewer",
                "user# --> document#viewer = viewer",
                "user# --> folder#viewer = viewer",
                "user# --> group#member = member",
            ]
        );
        assert_eq!(
            shown(&rules, "document", "editor"),
            [
                "user# --> document#editor = editor",
                "user# --> document#owner = editor"
            ]
        );
        // A way to another object is no grant.
        assert_eq!(shown(&rules, "document", "parent"), [""; 0]);
        assert_eq!(shown(&rules, "document", "nothing"), [""; 0]);
    }

    #[test]
    fn relations_that_imply_each_other_come_to_an_end() {
        let user = Some(&["user"][..]);
        let rules = namespaces(&[
            ("a", "x", &["y"], user),
            ("a", "y", &["z", "p.y"], user),
            ("a", "z", &["x"], user),
            ("a", "p", &[], Some(&["a"])),
        ]);
        assert_eq!(
            shown(&rules, "a", "x"),
            [
                "a#y --> a#p = x",
                "a#y --> a#p = y",
                "user# --> a#x = x",
                "user# --> a#x = y",
                "user# --> a#y = x",
                "user# --> a#y = y",
                "user# --> a#z = x",
                "user# --> a#z = y",
            ]
        );
    }
}
