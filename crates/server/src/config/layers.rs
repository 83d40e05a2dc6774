//! Merges defaults, file, environment and command line; remembers where each value came from.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};

use java_properties::{LineContent, PropertiesIter};

use super::keys::{ALIASES, KAFKA_ONLY, KAFKA_ONLY_PREFIXES, KEYS, Key};

/// Where a value came from.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Source {
    Default,
    File {
        path: PathBuf,
        line: usize,
    },
    Environment {
        variable: String,
    },
    CommandLine {
        argument: String,
    },
    /// Set on brokers while they run.
    Dynamic,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Environment { variable } => write!(f, "environment variable {variable}"),
            Self::CommandLine { argument } => write!(f, "{argument}"),
            Self::Dynamic => f.write_str("set on brokers"),
        }
    }
}

/// A configuration that cannot be used; the program ends with status 2.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct ConfigError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// What the user gave, from weakest to strongest.
#[derive(Default, Debug)]
pub(crate) struct Layers {
    pub(crate) file: Option<PathBuf>,
    /// All variables of the environment.
    pub(crate) environment: Vec<(String, String)>,
    /// Key, value, and the argument as typed.
    pub(crate) command_line: Vec<(String, String, String)>,
}

/// Every key with its value in plain form.
#[derive(Clone, Debug)]
pub(crate) struct Raw {
    values: BTreeMap<&'static str, (String, Source)>,
    /// Kafka's keys that mean nothing here, as given.
    kafka_only: BTreeMap<String, String>,
    /// One line each, for the log.
    pub(crate) warnings: Vec<String>,
}

/// Prefix of environment variables that set keys.
const VARIABLE_PREFIX: &str = "SILTSTONE_";

/// Variables with the prefix that are not keys: the test suites' own.
const VARIABLES_OF_TESTS: &str = "SILTSTONE_TEST_";

impl Layers {
    /// Merges the layers and checks every value.
    pub(crate) fn merge(self) -> Result<Raw, ConfigError> {
        let values = KEYS
            .iter()
            .map(|key| {
                let plain = key.kind.parse(key.default).expect("a test holds defaults to their kinds");
                (key.name, (plain, Source::Default))
            })
            .collect();
        let mut raw = Raw { values, kafka_only: BTreeMap::new(), warnings: Vec::new() };
        if let Some(path) = &self.file {
            raw.read_file(path)?;
        }
        raw.read_environment(&self.environment)?;
        for (key, value, argument) in self.command_line {
            raw.set(&key, &value, Source::CommandLine { argument })?;
        }
        Ok(raw)
    }
}

impl Raw {
    /// The plain value of a key of the table.
    pub(crate) fn get(&self, name: &str) -> &str {
        &self.entry(name).0
    }

    /// What was given for a key of Kafka's that means nothing here.
    pub(crate) fn kafka_only(&self, name: &str) -> Option<&str> {
        self.kafka_only.get(name).map(String::as_str)
    }

    /// With what is set on a broker while it runs over it.
    pub(crate) fn with<'a>(&self, set: impl Iterator<Item = (&'a String, &'a String)>) -> Result<Self, ConfigError> {
        let mut raw = self.clone();
        for (key, value) in set {
            raw.set(key, value, Source::Dynamic)?;
        }
        Ok(raw)
    }

    /// Where that value came from.
    pub(crate) fn source(&self, name: &str) -> &Source {
        &self.entry(name).1
    }

    fn entry(&self, name: &str) -> &(String, Source) {
        self.values.get(name).unwrap_or_else(|| panic!("{name} is not in the table of keys"))
    }

    /// The error for a value that only turns out to be wrong beside others.
    pub(crate) fn refuse(&self, name: &str, why: impl fmt::Display) -> ConfigError {
        let (value, source) = self.entry(name);
        ConfigError(format!("{source}: {name}={value}: {why}"))
    }

    fn read_file(&mut self, path: &Path) -> Result<(), ConfigError> {
        let broken = |detail: &dyn fmt::Display| ConfigError(format!("{}: {detail}; give a file of key=value lines", path.display()));
        let file = File::open(path).map_err(|error| broken(&error))?;
        for line in PropertiesIter::new(file) {
            let line = line.map_err(|error| broken(&error))?;
            if let LineContent::KVPair(key, value) = line.content() {
                self.set(key, value.trim_end(), Source::File { path: path.to_owned(), line: line.line_number() })?;
            }
        }
        Ok(())
    }

    fn read_environment(&mut self, environment: &[(String, String)]) -> Result<(), ConfigError> {
        let by_variable: BTreeMap<String, &str> = KEYS
            .iter()
            .map(|key| key.name)
            .chain(ALIASES.iter().map(|(alias, _)| *alias))
            .chain(KAFKA_ONLY.iter().copied())
            .map(|name| (variable_of(name), name))
            .collect();
        for (variable, value) in environment {
            if !variable.starts_with(VARIABLE_PREFIX) || variable.starts_with(VARIABLES_OF_TESTS) {
                continue;
            }
            match by_variable.get(variable) {
                Some(name) => self.set(name, value, Source::Environment { variable: variable.clone() })?,
                // Kubernetes injects variables for every service, also for one named siltstone.
                None => self.warnings.push(format!("environment variable {variable} names no configuration key; ignored")),
            }
        }
        Ok(())
    }

    fn set(&mut self, name: &str, value: &str, source: Source) -> Result<(), ConfigError> {
        let name = ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, name)| name);
        let Some(key) = find(name) else {
            if is_kafka_only(name) {
                self.warnings.push(format!("{source}: {name} is a Kafka setting without effect here; accepted"));
                self.kafka_only.insert(name.to_owned(), value.to_owned());
                return Ok(());
            }
            let nearest = KEYS.iter().max_by(|a, b| closeness(a, name).total_cmp(&closeness(b, name))).expect("the table is not empty");
            return Err(ConfigError(format!(
                "{source}: unknown key {name}; did you mean {}? `siltstone config list` shows every key",
                nearest.name
            )));
        };
        match key.kind.parse(value) {
            Ok(plain) => {
                self.values.insert(key.name, (plain, source));
                Ok(())
            }
            Err(why) => Err(ConfigError(format!("{source}: {name}={value}: {why}"))),
        }
    }
}

fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether it is a key of Kafka's that means nothing here.
pub(super) fn is_kafka_only(name: &str) -> bool {
    KAFKA_ONLY.contains(&name) || KAFKA_ONLY_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn closeness(key: &Key, name: &str) -> f64 {
    strsim::jaro_winkler(key.name, name)
}

/// `store.s3.region` is set by `SILTSTONE_STORE_S3_REGION`.
pub(crate) fn variable_of(name: &str) -> String {
    format!("{VARIABLE_PREFIX}{}", name.replace('.', "_").to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn the_stronger_layer_wins_and_its_place_is_known() {
        let file = file("# a comment\nnode.id=2\nnum.partitions = 3\nupload.bytes=1MiB\n");
        let raw = Layers {
            file: Some(file.path().to_owned()),
            environment: vec![("SILTSTONE_NUM_PARTITIONS".into(), "4".into()), ("PATH".into(), "/bin".into())],
            command_line: vec![("upload.bytes".into(), "2MiB".into(), "--set upload.bytes=2MiB".into())],
        }
        .merge()
        .unwrap();
        assert_eq!(raw.get("node.id"), "2");
        assert_eq!(raw.source("node.id"), &Source::File { path: file.path().to_owned(), line: 2 });
        assert_eq!(raw.get("num.partitions"), "4");
        assert_eq!(raw.get("upload.bytes"), "2097152");
        assert_eq!(raw.source("data.dir"), &Source::Default);
        assert!(raw.warnings.is_empty(), "{:?}", raw.warnings);
    }

    #[test]
    fn kafka_keys_warn_unknown_variables_warn_and_unknown_keys_are_refused() {
        let accepted = file("num.io.threads=8\ngroup.share.max.size=100\nlog.message.timestamp.type=LogAppendTime\n");
        let environment = vec![("SILTSTONE_SERVICE_HOST".into(), "10.0.0.1".into())];
        let raw = Layers { file: Some(accepted.path().to_owned()), environment, ..Layers::default() }.merge().unwrap();
        assert_eq!(raw.warnings.len(), 3, "{:?}", raw.warnings);
        assert_eq!(raw.get("message.timestamp.type"), "LogAppendTime");

        let unknown = file("\nmemory.max.byte=1\n");
        let error = Layers { file: Some(unknown.path().to_owned()), ..Layers::default() }.merge().unwrap_err();
        let expected = format!("{}:2: unknown key memory.max.byte; did you mean memory.max.bytes?", unknown.path().display());
        assert!(error.0.starts_with(&expected), "{error}");
    }

    #[test]
    fn a_wrong_value_is_told_with_place_key_value_and_the_way_out() {
        let file = file("upload.bytes=64MB\n");
        let error = Layers { file: Some(file.path().to_owned()), ..Layers::default() }.merge().unwrap_err();
        let expected = format!("{}:1: upload.bytes=64MB: must be bytes of at least 1024, such as 67108864 or 64MiB", file.path().display());
        assert_eq!(error.0, expected);
    }
}
