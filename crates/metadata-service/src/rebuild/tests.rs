//! Rebuilding: by chance at any moment of any history (test 7 of rule R15), and each rule for itself.

mod history;
mod life;
mod rules;
mod store;
