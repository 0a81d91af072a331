//! Is this slashable, and is it written down?

pub mod interchange;
pub mod lease;
pub mod signed;
pub mod witness;
