# Daily commands. `just` lists them. Install just with `cargo install just` or `pip install rust-just`.

# Lists the commands.
default:
    @just --list

# Serves a simulated cluster at http://127.0.0.1:8000.
demo *arguments:
    cargo run --release -- --demo {{ arguments }}

# Runs every test.
test *arguments:
    cargo test {{ arguments }}

# Runs the tests whose name contains WORD, for example `just only confirm`.
only word:
    cargo test {{ word }}

# Updates the golden files. Review the diff before you commit.
golden:
    INSTA_UPDATE=always cargo test --test golden
    INSTA_UPDATE=always cargo test --test integration cases
    git diff --stat -- '*.snap'

# Updates the table that is made from --help, and the picture of the README.
docs-tables:
    UPDATE=1 cargo test --test process readme
    UPDATE=1 cargo test --test golden picture

# Runs the checks that need no build: format, style, spelling, dependencies.
quick:
    bash .ci/run fmt style typos deny

# Runs the compiler's checks: clippy and the documentation.
lint:
    bash .ci/run clippy doc

# Runs the given steps of CI, or all of them.
ci *steps:
    bash .ci/run {{ steps }}

# Formats the code.
fmt:
    cargo fmt --all
    cargo fmt --all --manifest-path benches/compare/Cargo.toml

# Checks licences, bans and sources of the dependencies (deny.toml).
deny:
    bash .ci/run deny

# Checks the spelling (_typos.toml).
typos:
    bash .ci/run typos

# Builds the static binary.
static:
    bash .ci/run static

# Runs the benchmarks of the inner parts.
bench *arguments:
    cargo bench {{ arguments }}

# Compares the program with other servers, and updates docs/speed.md. Takes about a quarter of an hour.
compare *arguments:
    python3 benches/compare --update-page {{ arguments }}

# Puts load on the built program for some minutes, with failing clusters.
soak minutes="10":
    cargo build --release
    cargo run --release --example soak -- --minutes {{ minutes }}
