mod classic_members;
mod commits;
mod formats;
mod protocol;
mod schedule;
mod world;
