//! Is this usual for this very key?
//!
//! Rules, baselines, scores and the decision. Pure: no clock, no socket, no file, no logging.
