//! Is this slashable, and is it written down?
