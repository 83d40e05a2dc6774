package kafka

import (
	"net"
	"os"
	"strconv"
)

// Where the broker is that the tests talk to, in place of localhost:9092.
var (
	bootstrap     = os.Getenv("BOOTSTRAP")
	bootstrapHost string
	bootstrapPort int
)

func init() {
	host, port, err := net.SplitHostPort(bootstrap)
	if err == nil {
		bootstrapPort, err = strconv.Atoi(port)
	}
	if err != nil {
		panic("BOOTSTRAP must be host:port: " + err.Error())
	}
	bootstrapHost = host
}
