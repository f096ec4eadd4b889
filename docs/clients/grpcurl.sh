#!/bin/sh
# Shows a list, records a click on its first item, and puts an item in, with `grpcurl` and the protos;
# `sh grpcurl.sh 127.0.0.1:50051 [USER]`. With TLS, leave -plaintext out (-cacert names the authority).
set -eu
server=$1
user=${2:-1}
proto=$(dirname "$0")/../../proto

call() { # a file of proto/recsys/v1, a method, a request
    grpcurl -plaintext -import-path "$proto" -proto "recsys/v1/$1.proto" -max-time 5 \
        -H "authorization: Bearer ${RECSYS_TOKEN:-none}" -d "$3" "$server" "recsys.v1.$2"
}

call recommendation_service RecommendationService/Recommend '{
  "user_id": "'"$user"'", "placement": "home", "page_size": 3, "filter": "price < 50", "view": "VIEW_FULL"
}'
call recommendation_service RecommendationService/Rank '{
  "user_id": "'"$user"'", "item_ids": ["bread", "eggs"], "explain": true
}'
call event_service EventService/RecordEvents '{
  "events": [{"event_type": "click", "user_id": "'"$user"'", "item_id": "eggs"}]
}'
call catalog_service CatalogService/UpsertItems '{
  "items": [{
    "item_id": "figs", "title": "Fresh figs", "category": ["Shop", "Food"], "price": 2.5,
    "created_time": "2026-11-01T08:00:00Z"
  }]
}'
