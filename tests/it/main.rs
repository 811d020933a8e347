//! The built `foreshock`, from outside.

mod architecture;
