"""`penstock gateway`: the gateway alone."""

from penstock.base import lean
from penstock.cli import process
from penstock.cli.command import command, single

app = single()


@app.command(epilog="Example: penstock gateway --store postgresql://penstock@127.0.0.1/penstock")
@command
def gateway(
    host: process.HostOption = None,
    port: process.PortOption = None,
    data_dir: process.DataDirOption = None,
    store: process.StoreOption = None,
    upstream: process.UpstreamOption = None,
    tls_cert: process.TlsCertOption = None,
    tls_key: process.TlsKeyOption = None,
    config: process.ConfigOption = None,
    json_line: process.JsonLineOption = False,
) -> int:
    """Start a gateway alone. Its store must be migrated first (`penstock migrate`)."""
    flags = {
        "host": host,
        "port": port,
        "data_dir": data_dir,
        "store": store,
        "upstreams": upstream or None,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
    }
    settings = process.load_settings(flags, config)
    with lean.imports():
        from penstock.app.gateway import assembly as app

    return app.run(settings, json_line)
