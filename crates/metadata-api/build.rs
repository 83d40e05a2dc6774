//! Generates the messages and the gRPC client and server of `proto/metadata.proto`.

fn main() -> std::io::Result<()> {
    tonic_prost_build::configure().compile_protos(&["proto/metadata.proto"], &["proto"])
}
