//! Makes the stubs from the contract, with a protobuf compiler in Rust: a build needs cargo and nothing else.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=../../proto");
    let contract = protox::compile(["sojourn/v1/router.proto"], ["../../proto"])?;
    tonic_prost_build::configure().build_server(false).compile_fds(contract)?;
    Ok(())
}
