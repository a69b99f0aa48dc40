//! Which functions, operators and types a query may use, as data with a reason per group.

/// What a listed function is, for those who must know where it may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FunctionClass {
    /// Many rows to one value.
    Aggregate,
    /// One value from its arguments.
    Scalar,
    /// One call, many rows.
    SetReturning,
    /// Needs OVER.
    Window,
}

/// The class of a built-in function on the list; `None` = not allowed. `name` is folded, unqualified.
pub(crate) fn function(_name: &str) -> Option<FunctionClass> {
    None
}

/// Whether an operator, by its symbol, is on the list.
pub(crate) fn operator(_symbol: &str) -> bool {
    false
}

/// Whether a type may be the target of a cast or typed literal; the name as PostgreSQL's grammar
/// gives it (`int4`, `numeric`, `text`, `timestamptz`, ...), without array brackets.
pub(crate) fn cast_type(_name: &str) -> bool {
    false
}

/// A listed function whose name is near `name`, for a hint.
pub(crate) fn near_function(_name: &str) -> Option<&'static str> {
    None
}
