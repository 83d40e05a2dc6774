mod commits;
mod formats;
mod protocol;
mod schedule;
mod world;
