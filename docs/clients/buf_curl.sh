#!/bin/sh
# Calls a server with nothing but `buf` and the protos; `sh buf_curl.sh http://127.0.0.1:50051 [USER]`.
# With RECSYS_REFLECTION=true on the server, leave --schema out.
set -eu
server=$1
user=${2:-1}
proto=$(dirname "$0")/../../proto

buf curl --schema "$proto" --protocol grpc --http2-prior-knowledge \
    --header "authorization: Bearer ${RECSYS_TOKEN:-none}" --connect-timeout 5 \
    --data "{\"user_id\": \"$user\", \"page_size\": 3, \"explain\": false}" \
    "$server/recsys.v1.RecommendationService/Recommend"
