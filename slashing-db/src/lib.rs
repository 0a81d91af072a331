//! Is this slashable, and is it written down?

pub mod signed;
