//! The functions of PromQL: what each does to a slice of samples, a row of values, or a whole vector.

mod call;
mod elementwise;
mod histogram;
mod info;
mod label;
mod mixed;
mod range;
mod sort;

pub(super) use elementwise::Elementwise;
pub(super) use range::{RangeFunction, Slide};
