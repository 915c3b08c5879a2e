// Gives each visitor a cookie, by which the route under api/phoenix knows whose jobs are whose.
import { NextResponse } from "next/server";

export function proxy(request) {
  const response = NextResponse.next();
  if (!request.cookies.has("visitor")) {
    response.cookies.set("visitor", crypto.randomUUID(), { httpOnly: true, sameSite: "strict" });
  }
  return response;
}

export const config = { matcher: "/" };
