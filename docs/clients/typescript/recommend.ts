import { timestampNow } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { EventService, EventStatus } from "./gen/recsys/v1/event_service_pb.js";
import { RecommendationService } from "./gen/recsys/v1/recommendation_service_pb.js";
import { ServiceLevel } from "./gen/recsys/v1/types_pb.js";

// Reads are repeated when no server answered, as serving/service_config.json says.
const retry: Interceptor = (next) => async (request) => {
  const attempts = request.service.typeName === RecommendationService.typeName ? 3 : 1;
  for (let attempt = 1; ; attempt++) {
    try {
      return await next(request);
    } catch (error) {
      const isUnanswered = [Code.Unavailable, Code.Canceled].includes(ConnectError.from(error).code);
      if (attempt >= attempts || !isUnanswered || request.signal.aborted) throw error;
      await new Promise((resolve) => setTimeout(resolve, Math.random() * 50 * 2 ** attempt));
    }
  }
};

const authorize: Interceptor = (next) => (request) => {
  const token = process.env.RECSYS_TOKEN;
  if (token) request.header.set("authorization", `Bearer ${token}`);
  return next(request);
};

const transport = createGrpcTransport({
  baseUrl: process.argv[2] ?? "http://127.0.0.1:50051", // https:// with TLS
  interceptors: [retry, authorize],
  defaultTimeoutMs: 1000,
});
const recommendations = createClient(RecommendationService, transport);
const events = createClient(EventService, transport);

const userId = process.argv[3] ?? "1";
const answer = await recommendations.recommend({ userId, placement: "home", pageSize: 5 });
for (const result of answer.results) {
  console.log(result.itemId, result.score.toFixed(2), result.sources.join(" "));
}
console.log(ServiceLevel[answer.serviceLevel], answer.modelVersion);

if (answer.results.length > 0) {
  const event = { eventId: crypto.randomUUID(), eventType: "click", userId, itemId: answer.results[0].itemId, eventTime: timestampNow() };
  const recorded = await events.recordEvents({ events: [event] });
  console.log(EventStatus[recorded.results[0].status], recorded.results[0].reason);
}
