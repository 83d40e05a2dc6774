//! Generates the bodies of journal events and snapshots from `proto/journal.proto`.

fn main() -> std::io::Result<()> {
    tonic_prost_build::configure()
        .build_client(false)
        .build_server(false)
        .extern_path(".siltstone.metadata.v1", "::metadata_api::proto")
        .compile_protos(&["proto/journal.proto"], &["proto", "../metadata-api/proto"])
}
