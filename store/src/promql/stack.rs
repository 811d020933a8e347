//! Room for recursion over an expression, whatever stack the caller brought.

/// A level of plan or evaluation with everything it calls below itself, the walk of the parser's types over what is left of
/// a chain of operators among it, stays within this.
const LEVEL_BYTES: usize = 512 << 10;
/// What is added where less than that is left.
const GROWTH_BYTES: usize = 4 << 20;

/// Runs one level of a recursion, on a new piece of stack where the present one is almost used up.
///
/// Dashboards chain hundreds of selectors with `or`, and a chain nests to the left; threads of a pool have 2 MiB.
pub(super) fn deeper<T>(level: impl FnOnce() -> T) -> T {
    stacker::maybe_grow(LEVEL_BYTES, GROWTH_BYTES, level)
}
